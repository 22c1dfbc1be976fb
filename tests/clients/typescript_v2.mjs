// The TypeScript SDK, line 2. By default it speaks the generation with a handshake; `auto` as a second word lets it ask the
// server first.

import { drive, fillsIn, heard, load, transport } from './driven.mjs';

const { Client, StreamableHTTPClientTransport } = load('@modelcontextprotocol/client');

const options = process.argv[3] === 'auto' ? { versionNegotiation: { mode: 'auto' } } : {};
if (fillsIn) options.capabilities = { elicitation: { form: {} } };
const client = new Client({ name: 'agent', version: '1.0.0' }, options);
client.setNotificationHandler('notifications/message', ({ params }) => void heard.push(params.data));
if (fillsIn) client.setRequestHandler('elicitation/create', async () => ({ action: 'accept', content: { name: 'Ada' } }));
await client.connect(transport(StreamableHTTPClientTransport));
await drive(client, client.getNegotiatedProtocolVersion());
