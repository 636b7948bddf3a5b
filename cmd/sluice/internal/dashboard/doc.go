// Package dashboard holds the files of the web page that the gateway shows at
// /. They are built by Vite from web/ into dist/ (`make build`), and embedded.
//
// What is in dist/ is not in the repository; placeholder/ is, and is
// shown while the page has not been built: `go build` and `go test` need no
// Node. The page talks to the gateway's /admin/v1 only.
package dashboard
