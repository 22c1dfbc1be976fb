// An agent in TypeScript that lives well behind hold points.
//
//     AGENT_TOKEN=… node agent.ts URL TOOL '{"argument": "value"}' [--tag TAG]… [--patience-s 600]
//
// Prints the result of the call, or says on standard error why there is none (exit code 1). Needs `@modelcontextprotocol/client`
// (2.x) and a Node that runs TypeScript (22.18 or later).

import { parseArgs } from 'node:util';
import { setTimeout as pause } from 'node:timers/promises';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

/** Where the gateway says, for programs, what it says in words for models. */
const DECISION = 'holdpoint.dev/decision';
/** Where a client says what it knows of its own call. Tags only ever tighten: whoever is unsure may say so. */
const TAGS = 'holdpoint.dev/tags';
const PAUSE_MS = 1_000;

type Decision = { status: string; may_repeat: boolean };

/** The call did not run, and repeating it changes nothing. `status` is the gateway's word, the message its reason. */
class Refused extends Error {
  readonly status: string;

  constructor(status: string, reason: string) {
    super(reason);
    this.status = status;
  }
}

/**
 * Calls a tool. While somebody has to look at the call, or a limit is reached, waits and asks again with the very same call:
 * it is recognised, runs once, and nobody is asked twice.
 */
async function call(client: Client, name: string, args: Record<string, unknown>, tags: string[], patienceMs: number) {
  const giveUpAt = Date.now() + patienceMs;
  const _meta = tags.length > 0 ? { [TAGS]: tags } : undefined;
  for (;;) {
    const result = await client.callTool({ name, arguments: args, ...(_meta && { _meta }) });
    const decision = result._meta?.[DECISION] as Decision | undefined;
    if (!decision) return result;
    const said = (result.content ?? []).map(part => (part.type === 'text' ? part.text : '')).join(' ');
    if (!decision.may_repeat || Date.now() > giveUpAt) throw new Refused(decision.status, said);
    await pause(PAUSE_MS);
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { tag: { type: 'string', multiple: true, default: [] }, 'patience-s': { type: 'string', default: '600' } },
});
const [url, tool, args] = positionals;
const client = new Client({ name: 'agent', version: '1.0.0' });
const headers = { Authorization: `Bearer ${process.env.AGENT_TOKEN}` };
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
try {
  const patienceMs = Number(values['patience-s']) * 1_000;
  console.log(JSON.stringify(await call(client, tool, JSON.parse(args), values.tag, patienceMs)));
} catch (refused) {
  if (!(refused instanceof Refused)) throw refused;
  console.error(`${refused.status}: ${refused.message}`);
  process.exitCode = 1;
} finally {
  await client.close();
}
