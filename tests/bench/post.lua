-- wrk's side of load.py: the call that every measurement sends, and a last line of JSON with times in microseconds.

function init(arguments)
  wrk.method = "POST"
  wrk.body = arguments[1]
  wrk.headers["Content-Type"] = "application/json"
end

function done(summary, latency, requests)
  local failed = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "duration": %d, "median": %d, "p99": %d, "longest": %d, "errors": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    failed.connect + failed.read + failed.write + failed.status + failed.timeout
  ))
end
