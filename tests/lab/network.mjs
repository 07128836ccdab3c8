// A corporate network in one process: an HTTP proxy through which every host name leads to one server, behind TLS.
//
//   node network.mjs '{"backend": 9400, "key": "...", "certificate": "..."}'
//
//   backend       port on 127.0.0.1 of the server (plain HTTP) that every name leads to
//   key, certificate   PEM, with which TLS ends here
//   secureProxy   whether the proxy itself is reached by TLS        (false)
//   password      "name:password" that the proxy asks for           (none)
//   schemes       values of Proxy-Authenticate                      (["Basic realm=\"lab\""])
//   refuses       a status with which every tunnel is refused       (none)
//
// Standard output: `ready <port of the proxy>`, then one JSON object per request for a tunnel. End of input exits.

import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';

const settings = { secureProxy: false, schemes: ['Basic realm="lab"'], ...JSON.parse(process.argv[2]) };
const identity = { key: settings.key, cert: settings.certificate };

const together = (one, other) => {
  one.pipe(other).pipe(one);
  for (const socket of [one, other]) {
    socket.on('error', () => { one.destroy(); other.destroy(); });
  }
};

// TLS ends here, as it does at the provider's own front, or in a network that looks into it.
const front = tls.createServer({ ...identity, ALPNProtocols: ['http/1.1'] }, (socket) => {
  together(socket, net.connect(settings.backend, '127.0.0.1'));
});
front.on('tlsClientError', () => {});
await new Promise((done) => front.listen(0, '127.0.0.1', done));

const proxy = settings.secureProxy ? https.createServer(identity) : http.createServer();
proxy.on('connect', (request, socket, head) => {
  const given = request.headers['proxy-authorization'] ?? '';
  process.stdout.write(`${JSON.stringify({ to: request.url, authorization: given })}\n`);
  const refuse = (status, lines = []) => socket.end([`HTTP/1.1 ${status} No`, ...lines, 'Content-Length: 0', '', ''].join('\r\n'));
  const wanted = settings.password && `Basic ${Buffer.from(settings.password).toString('base64')}`;
  socket.on('error', () => {});
  if (settings.refuses) return refuse(settings.refuses);
  if (wanted && given !== wanted) return refuse(407, settings.schemes.map((scheme) => `Proxy-Authenticate: ${scheme}`));
  const onward = net.connect(front.address().port, '127.0.0.1', () => {
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
    onward.write(head);
    together(socket, onward);
  });
});
proxy.on('tlsClientError', () => {});
await new Promise((done) => proxy.listen(0, '127.0.0.1', done));

process.stdout.write(`ready ${proxy.address().port}\n`);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
