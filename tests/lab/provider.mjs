// A real, certified OpenID provider (oidc-provider) on a loopback port, for gatepass's end-to-end tests.
//
//   node provider.mjs '{"accessToken": 60, "rotate": false, "rsaKey": "...", "ecKey": "..."}'
//
// Settings are one JSON object, given as the first argument or in GATEPASS_LAB_PROVIDER:
//   port          0 is any free port                       (0)
//   accessToken   lifetime of access tokens in seconds     (3600)
//   idToken       lifetime of ID tokens in seconds         (3600)
//   refreshToken  lifetime of refresh tokens in seconds    (86400)
//   deviceCode    lifetime of device codes in seconds      (120)
//   rotate        whether refresh tokens rotate            (true; reuse then ends the whole family)
//   device        whether the device flow is offered       (true)
//   revocation    whether revocation is offered            (true)
//   par           whether pushed requests are offered      (true)
//   parRequired   whether other requests are refused       (false)
//   client        members of the client's registration that differ, such as its keys
//   tls           {"key", "certificate"} (PEM) of a second, TLS address that asks for certificates: the endpoints for
//                 clients that show one are announced there (RFC 8705 section 5)
//   dpopNonce     whether proofs of possession need a nonce (false)
//   rsaKey, ecKey private keys to sign with: PKCS #8 (DER) in base64. They come from outside, since Node 20 hangs for
//                 ever where garbage collection meets a key that was just generated while it is exported
//
// Standard output: `ready <issuer>`, then one JSON object per line and event, `{"event": "...", ...}`.
// Standard input: `down` refuses connections while the state is kept, `up` serves again, `sync` answers when
// everything before it has been reported, end of input exits.

import http from 'node:http';
import https from 'node:https';
import { createInterface } from 'node:readline';
import { X509Certificate, createPrivateKey, randomBytes } from 'node:crypto';
import { Provider } from 'oidc-provider';

const GATEWAY = 'https://gateway.example.test/';

const settings = {
  port: 0,
  accessToken: 3600,
  idToken: 3600,
  refreshToken: 86400,
  deviceCode: 120,
  rotate: true,
  device: true,
  revocation: true,
  par: true,
  parRequired: false,
  client: {},
  tls: null,
  dpopNonce: false,
  ...JSON.parse(process.argv[2] ?? process.env.GATEPASS_LAB_PROVIDER ?? '{}'),
};

// Standard output belongs to the events; the provider's own remarks go elsewhere.
console.log = console.info = console.error;
const report = (event, details = {}) => process.stdout.write(`${JSON.stringify({ event, ...details })}\n`);

function signingKey(algorithm, key) {
  const privateKey = createPrivateKey({ key: Buffer.from(key, 'base64'), format: 'der', type: 'pkcs8' });
  return { ...privateKey.export({ format: 'jwk' }), alg: algorithm, use: 'sig', kid: `lab-${algorithm}` };
}

function configuration() {
  const person = (id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      name: `${id} of the lab`,
      email: `${id}@example.test`,
      email_verified: true,
      groups: ['llm-users'],
    }),
  });
  const grants = ['authorization_code', 'refresh_token'];
  if (settings.device) grants.push('urn:ietf:params:oauth:grant-type:device_code');
  return {
    clients: [{
      client_id: 'gatepass',
      client_name: 'gatepass',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      grant_types: grants,
      response_types: ['code'],
      // The provider compares everything but the port, as RFC 8252 section 7.3 asks for.
      redirect_uris: ['http://127.0.0.1/callback', 'http://localhost/callback', 'http://[::1]/callback'],
      ...settings.client,
    }],
    clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt', ...(secure ? ['self_signed_tls_client_auth'] : [])],
    discovery: {
      ...(secure && {
        mtls_endpoint_aliases: {
          token_endpoint: `${secure}/token`,
          revocation_endpoint: `${secure}/token/revocation`,
          device_authorization_endpoint: `${secure}/device/auth`,
          pushed_authorization_request_endpoint: `${secure}/request`,
        },
      }),
    },
    jwks: { keys: [signingKey('RS256', settings.rsaKey), signingKey('ES256', settings.ecKey)] },
    cookies: { keys: ['only-for-the-lab'] },
    scopes: ['openid', 'profile', 'email', 'offline_access', 'gateway.invoke'],
    claims: { openid: ['sub'], profile: ['name', 'groups'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false, // what most providers do: e-mail and name lie in the ID token
    pkce: { required: () => true },
    findAccount: (_ctx, id) => person(id),
    rotateRefreshToken: settings.rotate,
    issueRefreshToken: (_ctx, client, source) => client.grantTypeAllowed('refresh_token') && source.scopes.has('offline_access'),
    ttl: {
      AccessToken: settings.accessToken,
      IdToken: settings.idToken,
      RefreshToken: settings.refreshToken,
      DeviceCode: settings.deviceCode,
      AuthorizationCode: 60,
      Interaction: 600,
      Session: 86400,
      Grant: 86400,
    },
    features: {
      devInteractions: { enabled: true },
      deviceFlow: { enabled: settings.device },
      revocation: { enabled: settings.revocation },
      pushedAuthorizationRequests: { enabled: settings.par, requirePushedAuthorizationRequests: settings.parRequired },
      userinfo: { enabled: true },
      dPoP: { enabled: true, ...(settings.dpopNonce && { nonceSecret: randomBytes(32), requireNonce: () => true }) },
      mTLS: {
        enabled: Boolean(secure),
        selfSignedTlsClientAuth: true,
        getCertificate: (ctx) => {
          const { raw } = ctx.socket.getPeerCertificate?.() ?? {};
          return raw && new X509Certificate(raw).toString();
        },
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_ctx, _client, oneOf) => oneOf ?? GATEWAY,
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, resource) => ({
          audience: resource,
          scope: 'openid profile email gateway.invoke',
          accessTokenFormat: 'jwt',
          accessTokenTTL: settings.accessToken,
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
  };
}

// What happened inside the provider. Handlers get (ctx, error-or-detail) or the token model itself.
const EVENTS = [
  'authorization.success', 'authorization.error',
  'pushed_authorization_request.success', 'pushed_authorization_request.error',
  'device_authorization.success', 'device_authorization.error',
  'grant.success', 'grant.error', 'grant.revoked',
  'refresh_token.saved', 'refresh_token.consumed', 'refresh_token.destroyed',
  'device_code.consumed', 'access_token.issued',
  'revocation.error', 'server_error',
];

function listen(provider) {
  for (const event of EVENTS) {
    provider.on(event, (first, second) => {
      const grantType = first?.oidc?.params?.grant_type;
      const problem = second?.error ?? second?.name;
      report(event, {
        ...(grantType && { grant_type: grantType }),
        ...(problem && { error: problem }),
        ...((second?.error_detail ?? second?.error_description) && { detail: second.error_detail ?? second.error_description }),
        ...(event === 'server_error' && { stack: second?.stack }),
      });
    });
  }
}

// Every secret that leaves the provider, so that a test can look for it where it does not belong.
function reportSecrets(ctx) {
  const body = ctx.body && typeof ctx.body === 'object' ? ctx.body : {};
  const secrets = ['access_token', 'refresh_token', 'id_token', 'device_code'].filter((name) => body[name]).map((name) => [name, body[name]]);
  const location = ctx.response.get('location');
  if (location) {
    const code = URL.canParse(location, ctx.href) && new URL(location, ctx.href).searchParams.get('code');
    if (code) secrets.push(['code', code]);
  }
  for (const [kind, value] of secrets) report('secret', { kind, value });
}

const server = http.createServer();
const open = () => new Promise((done) => server.listen(settings.port, '127.0.0.1', done));
await open();
settings.port = server.address().port;
const issuer = `http://127.0.0.1:${settings.port}`;

// The second address, for clients that show a certificate.
let secure;
const secureServer = settings.tls && https.createServer({
  key: settings.tls.key,
  cert: settings.tls.certificate,
  requestCert: true,
  rejectUnauthorized: false, // the provider compares it with the registered one
});
if (secureServer) {
  await new Promise((done) => secureServer.listen(0, '127.0.0.1', done));
  secure = `https://127.0.0.1:${secureServer.address().port}`;
}

const provider = new Provider(issuer, configuration());
listen(provider);
provider.use(async (ctx, next) => {
  await next();
  reportSecrets(ctx);
  if (ctx.path === '/token/revocation' && ctx.status === 200) report('revocation.success');
});
const answer = provider.callback();
const serve = (request, response) => {
  response.on('close', () => report('request', {
    method: request.method,
    path: new URL(request.url, issuer).pathname,
    status: response.statusCode,
    agent: request.headers['user-agent'] ?? '',
    certificate: Boolean(request.socket.getPeerCertificate?.()?.raw),
  }));
  answer(request, response);
};
server.on('request', serve);
secureServer?.on('request', serve);

process.stdout.write(`ready ${issuer}\n`);

const commands = createInterface({ input: process.stdin });
commands.on('line', async (line) => {
  if (line === 'sync') report('sync');
  else if (line === 'down') {
    server.close(() => report('down'));
    server.closeAllConnections();
  } else if (line === 'up') {
    await open();
    report('up');
  }
});
commands.on('close', () => process.exit(0));
