// The TypeScript SDK, line 2. By default it speaks the generation with a handshake; `auto` as a second word lets it ask the
// server first.

import { drive, load, transport } from './driven.mjs';

const { Client, StreamableHTTPClientTransport } = load('@modelcontextprotocol/client');

const options = process.argv[3] === 'auto' ? { versionNegotiation: { mode: 'auto' } } : {};
const client = new Client({ name: 'agent', version: '1.0.0' }, options);
await client.connect(transport(StreamableHTTPClientTransport));
await drive(client, client.getNegotiatedProtocolVersion());
