// Empty: a package with a function whose body lies elsewhere (go:linkname) needs one.
