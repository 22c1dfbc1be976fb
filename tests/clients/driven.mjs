// What every Node client here shares: one JSON line of standard input is one thing to do, one line of output its end.
//
// In:  {"list": true},  {"tool": name, "arguments": {...}}  or  {"heard": true}
// Out: {"connected": protocol version}, then per line {"tools": [...]}, {"result": {...}}, {"heard": [log message, …]} or
//      {"error": what was thrown}

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

/** Loads from the directory where the packages were installed; an import would look beside this file. */
export const load = createRequire(`${process.env.HOLDPOINT_PACKAGES}/`);

const token = process.env.AGENT_TOKEN;

/** A transport of the given class to the address on the command line, with the token if there is one. */
export function transport(StreamableHttp) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  return new StreamableHttp(new URL(process.argv[2]), { requestInit: { headers } });
}

/** Whether it has a user who fills in forms. */
export const fillsIn = process.env.HOLDPOINT_FILLS_IN === '1';

/** What its server said without being asked. */
export const heard = [];

/** Works off standard input until it ends. */
export async function drive(client, version) {
  const say = line => console.log(JSON.stringify(line));
  say({ connected: version });
  for await (const line of createInterface({ input: process.stdin })) {
    const wanted = JSON.parse(line);
    try {
      if ('heard' in wanted) {
        say({ heard });
      } else if ('tool' in wanted) {
        say({ result: await client.callTool({ name: wanted.tool, arguments: wanted.arguments }) });
      } else {
        say({ tools: (await client.listTools()).tools });
      }
    } catch (thrown) {
      say({ error: String(thrown) });
    }
  }
  await client.close();
}
