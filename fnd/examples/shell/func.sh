#!/bin/sh
# A function that is a shell script: reads a name, greets it. What it writes to standard error is its log, exiting with
# another code than 0 fails the call, and FN_METHOD, FN_REQUEST_URL and FN_HEADER_... tell of the call.
name=$(cat)
printf 'Hello, %s\n' "${name:-world}"
