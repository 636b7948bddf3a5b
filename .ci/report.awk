# Reads what `go test -v` prints, and prints what somebody wants to know: a
# line for each package, and of failed tests everything. Skipped tests and
# their reasons go to the file `skips`.

/^=== / { cur = $3; next }
/^[ ]*--- PASS/ { next }
/^[ ]*--- FAIL/ { printf "%s%s\n", log_of[$3], $0; next }
/^[ ]*--- SKIP/ { print $3 ": " last[$3] >> skips; next }
/^PASS$/ { next }
/^(ok|FAIL|\?)[ \t]/ { print; cur = ""; loud = 0; split("", log_of); split("", last); next }
/^(panic:|fatal error:|SIG)/ { if (cur != "") printf "%s", log_of[cur]; loud = 1 }
loud || cur == "" { print; next }
{ log_of[cur] = log_of[cur] $0 "\n"; last[cur] = $0 }
