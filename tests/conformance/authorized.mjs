// What a client of the suite needs to be authorized: who it is to authorization servers, a user who agrees to everything,
// and the way through a gateway that its server does not know of.
import { request } from 'node:http';
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';

const load = createRequire(`${process.env.HOLDPOINT_PACKAGES}/`);
const { ClientCredentialsProvider, PrivateKeyJwtProvider } = load('@modelcontextprotocol/client');

/** A `fetch` whose connections to `origin` go to the gateway at `port`; everything else of a request stays as it is. */
export function fetchThrough(origin, port) {
  return async (target, init = {}) => {
    const url = new URL(target);
    if (url.origin !== origin) return fetch(target, init);
    const headers = { host: url.host, ...Object.fromEntries(new Headers(init.headers)) };
    return new Promise((resolve, reject) => {
      const asked = request(
        { host: '127.0.0.1', port, method: init.method ?? 'GET', path: url.pathname + url.search, headers, signal: init.signal },
        (answer) => {
          const lines = answer.rawHeaders;
          const pairs = lines.flatMap((name, at) => (at % 2 === 0 ? [[name, lines[at + 1]]] : []));
          const hasBody = ![204, 304].includes(answer.statusCode);
          if (!hasBody) answer.resume();
          resolve(new Response(hasBody ? Readable.toWeb(answer) : null, { status: answer.statusCode, headers: pairs }));
        },
      );
      asked.on('error', reject);
      // A form of the SDK becomes text here as it does in `fetch`; its type is among the headers.
      asked.end(init.body === undefined ? undefined : String(init.body));
    });
  };
}

/** A client with a browser and a user who agrees to everything; what comes back is in `callback`. */
class Agreeing {
  redirectUrl = 'http://localhost:3000/callback';
  clientMetadataUrl = 'https://conformance-test.local/client-metadata.json';
  callback = undefined;
  #client;
  #tokens;
  #verifier;

  constructor(client) {
    this.#client = client;
  }

  get clientMetadata() {
    return {
      client_name: 'agent',
      redirect_uris: [this.redirectUrl],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
    };
  }

  clientInformation() {
    return this.#client;
  }

  saveClientInformation(client) {
    this.#client = client;
  }

  tokens() {
    return this.#tokens;
  }

  saveTokens(tokens) {
    this.#tokens = tokens;
  }

  saveCodeVerifier(verifier) {
    this.#verifier = verifier;
  }

  codeVerifier() {
    return this.#verifier;
  }

  invalidateCredentials(scope) {
    if (['all', 'client'].includes(scope)) this.#client = undefined;
    if (['all', 'tokens'].includes(scope)) this.#tokens = undefined;
  }

  async redirectToAuthorization(url) {
    const answer = await fetch(url, { redirect: 'manual' });
    this.callback = new URL(answer.headers.get('location'), url).searchParams;
  }
}

/** Who the client of a scenario is. */
export function providerFor(scenario, context) {
  if (scenario === 'auth/client-credentials-basic') {
    return new ClientCredentialsProvider({ clientId: context.client_id, clientSecret: context.client_secret });
  }
  if (scenario === 'auth/client-credentials-jwt') {
    const { client_id: clientId, private_key_pem: privateKey, signing_algorithm: algorithm } = context;
    return new PrivateKeyJwtProvider({ clientId, privateKey, algorithm });
  }
  const { client_id, client_secret, issuer } = context;
  return new Agreeing(client_id && { client_id, client_secret, issuer });
}
