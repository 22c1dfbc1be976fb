// The TypeScript SDK, line 1.

import { drive, load, transport } from './driven.mjs';

const { Client } = load('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = load('@modelcontextprotocol/sdk/client/streamableHttp.js');

const client = new Client({ name: 'agent', version: '1.0.0' });
const http = transport(StreamableHTTPClientTransport);
await client.connect(http);
await drive(client, http.protocolVersion);
