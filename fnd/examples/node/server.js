// Greets whoever the caller names, with Node's own http: {"name": "Ada"} in, {"message": "Hello, Ada"} out.
//
// All that is below the function's URL comes here, by any method; any framework on top of http will do.

const http = require("node:http");

function greet(body) {
  let name;
  try {
    ({ name } = JSON.parse(body));
  } catch {
    console.error("the body is not a JSON object:", body.slice(0, 200));
  }
  return { message: `Hello, ${name ?? "world"}` };
}

const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const answer = JSON.stringify(greet(Buffer.concat(parts).toString() || "{}"));
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(answer);
  });
});

server.listen(process.env.FND_SOCKET);
