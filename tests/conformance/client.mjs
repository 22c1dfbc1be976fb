// A client of the official TypeScript SDK, line 2, that does what a scenario of the conformance suite wants. The suite adds
// its server's address as the last word. With two words before it, a gateway's port and a switch's control port, the switch
// is set to the server and the client goes to the gateway.
//
// Where a scenario wants the client authorized, what a server says of its own address must be true: then the client uses
// the server's address, and its connections to it, with their `host` as it is, lead to the gateway.
import { fetchThrough, providerFor } from './authorized.mjs';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { once } from 'node:events';

const load = createRequire(`${process.env.HOLDPOINT_PACKAGES}/`);
const sdk = load('@modelcontextprotocol/client');
const { Client, StreamableHTTPClientTransport } = sdk;
const { MCP_CONFORMANCE_SCENARIO: scenario, MCP_CONFORMANCE_PROTOCOL_VERSION: version } = process.env;
const authorizes = scenario.startsWith('auth/');

const words = process.argv.slice(2);
const url = new URL(words.at(-1));
if (words.length === 3) {
  const control = connect(Number(words[1]), '127.0.0.1');
  control.write(`${url.port}\n`);
  await once(control, 'data');
  control.destroy();
  if (!authorizes) url.port = words[0];
}

const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');
const isModern = version === '2026-07-28';

const newClient = () => new Client(
  { name: 'agent', version: '1.0.0' },
  {
    capabilities: { elicitation: { form: { applyDefaults: true } }, sampling: {}, roots: {} },
    ...(isModern && { versionNegotiation: { mode: { pin: version } } }),
  },
);
let client = newClient();
// Accepts with nothing filled in: the SDK fills in the defaults. Where a field has none, something of its type.
client.setRequestHandler('elicitation/create', async (request) => {
  const content = {};
  for (const [name, field] of Object.entries(request.params.requestedSchema?.properties ?? {})) {
    if (field.default === undefined) content[name] = { boolean: true, string: 'x', integer: 1, number: 1 }[field.type] ?? 'x';
  }
  return { action: 'accept', content };
});
client.setRequestHandler('roots/list', async () => ({ roots: [] }));

/** Arguments of the right types for a tool that the scenario says nothing about. */
function made(schema) {
  const make = ({ type, enum: choices }) => choices?.[0] ?? { number: 2, integer: 2, boolean: true }[type] ?? 'x';
  return Object.fromEntries(Object.entries(schema?.properties ?? {}).map(([name, field]) => [name, make(field)]));
}

let attempt = async (ask) => ask().catch((error) => console.error(String(error)));
if (authorizes) {
  const provider = providerFor(scenario, context);
  const options = { authProvider: provider, ...(words.length === 3 && { fetch: fetchThrough(url.origin, words[0]) }) };
  let transport;
  // A user agrees at once, and then the same is tried again; but not for ever.
  const agreed = async (ask) => {
    for (let rounds = 0; ; rounds += 1) {
      try {
        return await ask();
      } catch (error) {
        if (!(error instanceof sdk.UnauthorizedError) || !provider.callback || rounds === 2) throw error;
        await transport.finishAuth(provider.callback);
        provider.callback = undefined;
      }
    }
  };
  await agreed(async () => {
    client = newClient();
    transport = new StreamableHTTPClientTransport(url, options);
    await client.connect(transport);
  });
  attempt = (ask) => agreed(ask);
} else {
  await client.connect(new StreamableHTTPClientTransport(url));
}
const { tools } = await attempt(() => client.listTools());
if (context.toolCalls) {
  for (const call of context.toolCalls) await attempt(() => client.callTool({ name: call.name, arguments: call.arguments }));
} else if (!['initialize', 'json-schema-ref-no-deref'].includes(scenario)) {
  for (const tool of tools) await attempt(() => client.callTool({ name: tool.name, arguments: made(tool.inputSchema) }));
}
if (scenario === 'http-standard-headers') {
  for (const { name } of (await client.listPrompts()).prompts) await attempt(() => client.getPrompt({ name }));
  for (const { uri } of (await client.listResources()).resources) await attempt(() => client.readResource({ uri }));
}
await client.close();
process.exit(0);
