// An MCP server with the tools, resources and prompts that the official conformance suite asks for, in both generations
// of the protocol: with sessions (2025-11-25) and without (2026-07-28). Plain Node, so that nothing stands between the wire
// and what the suite sees. Listens on PORT.
import { createServer } from 'node:http';
import { createHmac, randomUUID } from 'node:crypto';

const LEGACY = ['2025-11-25', '2025-06-18', '2025-03-26'];
const MODERN = '2026-07-28';
const META = 'io.modelcontextprotocol/';
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==';
const WAV = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=';

class RpcError extends Error {
  constructor(code, message, status = 200, data) {
    super(message);
    Object.assign(this, { code, status, data });
  }
}

const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));
const text = (said) => ({ content: [{ type: 'text', text: said }] });
const object = (properties = {}, required) => ({ type: 'object', properties, ...(required && { required }) });
const string = (more) => ({ type: 'string', ...more });

// ---- what a form of an elicitation asks for -------------------------------------------------------------------------

const DEFAULTS = object({
  name: string({ default: 'John Doe' }),
  age: { type: 'integer', default: 30 },
  score: { type: 'number', default: 95.5 },
  status: string({ enum: ['active', 'inactive', 'pending'], default: 'active' }),
  verified: { type: 'boolean', default: true },
});
const titled = (...pairs) => pairs.map(([value, title]) => ({ const: value, title }));
const ENUMS = object({
  untitledSingle: string({ enum: ['option1', 'option2', 'option3'] }),
  titledSingle: string({ oneOf: titled(['value1', 'First'], ['value2', 'Second'], ['value3', 'Third']) }),
  legacyEnum: string({ enum: ['opt1', 'opt2', 'opt3'], enumNames: ['One', 'Two', 'Three'] }),
  untitledMulti: { type: 'array', items: string({ enum: ['option1', 'option2', 'option3'] }) },
  titledMulti: { type: 'array', items: { anyOf: titled(['value1', 'First'], ['value2', 'Second'], ['value3', 'Third']) } },
});

// ---- tools: definition, and what it does with (arguments, exchange) -------------------------------------------------

const elicit = (schema) => async (args, exchange) => {
  const params = { message: args.message ?? 'Please fill in', requestedSchema: schema };
  const answer = await exchange.ask('elicitation/create', params);
  return text(`Elicitation completed: action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`);
};

const TOOLS = {
  test_simple_text: { run: () => text('This is a simple text response for testing.') },
  test_image_content: { run: () => ({ content: [{ type: 'image', data: PNG, mimeType: 'image/png' }] }) },
  test_audio_content: { run: () => ({ content: [{ type: 'audio', data: WAV, mimeType: 'audio/wav' }] }) },
  test_embedded_resource: {
    run: () => ({ content: [resource('test://embedded-resource', 'text/plain', 'This is an embedded resource content.')] }),
  },
  test_multiple_content_types: {
    run: () => ({
      content: [
        ...text('Multiple content types test:').content,
        { type: 'image', data: PNG, mimeType: 'image/png' },
        resource('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
      ],
    }),
  },
  test_error_handling: {
    run: () => ({ ...text('This tool intentionally returns an error for testing'), isError: true }),
  },
  test_tool_with_logging: {
    run: async (_args, exchange) => {
      for (const data of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
        exchange.log('info', data);
        await sleep(50);
      }
      return text('Tool with logging executed successfully');
    },
  },
  test_logging_tool: {
    run: (_args, exchange) => {
      exchange.log('info', 'logged if asked for');
      return text('done');
    },
  },
  test_tool_with_progress: {
    run: async (_args, exchange) => {
      for (const progress of [0, 50, 100]) {
        exchange.notify('notifications/progress', {
          progressToken: exchange.progressToken ?? 0, progress, total: 100, message: `Completed step ${progress} of 100`,
        });
        await sleep(50);
      }
      return text(String(exchange.progressToken ?? 0));
    },
  },
  test_sampling: {
    inputSchema: object({ prompt: string() }, ['prompt']),
    run: async (args, exchange) => {
      const messages = [{ role: 'user', content: { type: 'text', text: args.prompt } }];
      const answer = await exchange.ask('sampling/createMessage', { messages, maxTokens: 100 });
      return text(`LLM response: ${answer.content?.text ?? 'none'}`);
    },
  },
  test_elicitation: {
    inputSchema: object({ message: string() }, ['message']),
    run: elicit(object({ response: string({ description: "User's response" }) }, ['response'])),
  },
  test_elicitation_sep1034_defaults: { run: elicit(DEFAULTS) },
  test_elicitation_sep1330_enums: { run: elicit(ENUMS) },
  test_reconnection: {
    run: async (_args, exchange) => {
      exchange.breakStream();
      await sleep(100);
      return text('Reconnection test completed successfully.');
    },
  },
  json_schema_2020_12_tool: {
    inputSchema: {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      $defs: { address: { $anchor: 'addressDef', ...object({ street: string(), city: string() }) } },
      properties: {
        name: string(), address: { $ref: '#/$defs/address' }, contactMethod: string({ enum: ['phone', 'email'] }),
        phone: string(), email: string(),
      },
      allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
      if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
      then: { required: ['phone'] },
      else: { required: ['email'] },
      additionalProperties: false,
    },
    run: (args) => text(`called with ${JSON.stringify(args)}`),
  },
  test_custom_headers: {
    modern: true,
    inputSchema: object({
      region: string({ 'x-mcp-header': 'Region' }), count: { type: 'integer', 'x-mcp-header': 'Count' },
    }),
    run: (args) => text(JSON.stringify(args)),
  },
  test_trigger_tool_change: { modern: true, run: () => changed('tools') },
  test_trigger_prompt_change: { modern: true, run: () => changed('prompts') },
  test_streaming_elicitation: {
    modern: true,
    run: () => wanted({ answer: elicitation('What is it?', { answer: string() }) }),
  },
  test_missing_capability: {
    modern: true,
    run: (_args, exchange) => {
      if (!exchange.capabilities.sampling) {
        throw new RpcError(-32021, 'missing client capability', 400, { requiredCapabilities: { sampling: {} } });
      }
      return text('Success');
    },
  },
  test_input_required_result_elicitation: {
    modern: true,
    run: (_args, { answers }) =>
      answers.user_name
        ? text(`Hello, ${answers.user_name.content?.name}!`)
        : wanted({ user_name: elicitation('What is your name?', { name: string() }) }),
  },
  test_input_required_result_sampling: {
    modern: true,
    run: (_args, { answers }) =>
      answers.sample_request
        ? text(`Sampling result: ${answers.sample_request.content?.text}`)
        : wanted({ sample_request: sampling('What is the capital of France?') }),
  },
  test_input_required_result_list_roots: {
    modern: true,
    run: (_args, { answers }) =>
      answers.roots_request
        ? text(`Found ${answers.roots_request.roots?.length ?? 0} root(s)`)
        : wanted({ roots_request: { method: 'roots/list', params: {} } }),
  },
  test_input_required_result_request_state: {
    modern: true,
    run: (_args, { answers, state }) =>
      state?.kind === 'request-state' && answers.confirm?.content?.ok === true
        ? text('state-ok: requestState validated')
        : wanted({ confirm: elicitation('Please confirm', { ok: { type: 'boolean' } }) }, { kind: 'request-state' }),
  },
  test_input_required_result_multiple_inputs: {
    modern: true,
    run: (_args, { answers, state }) =>
      state?.kind === 'multiple' && answers.user_name && answers.greeting && answers.client_roots
        ? text(`Name: ${answers.user_name.content?.name}; Roots: ${answers.client_roots.roots?.length ?? 0}`)
        : wanted(
            {
              user_name: elicitation('What is your name?', { name: string() }),
              greeting: sampling('Generate a greeting'),
              client_roots: { method: 'roots/list', params: {} },
            },
            { kind: 'multiple' },
          ),
  },
  test_input_required_result_multi_round: {
    modern: true,
    run: (_args, { answers, state }) => {
      if (state?.round === 2 && answers.step2) {
        return text(`Multi-round complete for ${state.name} who likes ${answers.step2.content?.color}`);
      }
      if (state?.round === 1 && answers.step1) {
        const step2 = elicitation('Step 2: What is your favorite color?', { color: string() });
        return wanted({ step2 }, { round: 2, name: answers.step1.content?.name });
      }
      return wanted({ step1: elicitation('Step 1: What is your name?', { name: string() }) }, { round: 1 });
    },
  },
  test_input_required_result_tampered_state: {
    modern: true,
    run: (_args, { answers, state }) =>
      state?.kind === 'tamper' && answers.confirm
        ? text('integrity-ok: state verified')
        : wanted({ confirm: elicitation('Please confirm', { ok: { type: 'boolean' } }) }, { kind: 'tamper' }),
  },
  test_input_required_result_capabilities: {
    modern: true,
    run: (_args, { capabilities }) => {
      const asked = {};
      if (capabilities.elicitation) asked.elicit_input = elicitation('Please provide input', { value: string() });
      if (capabilities.sampling) asked.sample_input = sampling('Say something');
      if (capabilities.roots) asked.roots_input = { method: 'roots/list', params: {} };
      return Object.keys(asked).length > 0 ? wanted(asked) : text('nothing to ask with');
    },
  },
};

function resource(uri, mimeType, said) {
  return { type: 'resource', resource: { uri, mimeType, text: said } };
}
function elicitation(message, properties) {
  return {
    method: 'elicitation/create',
    params: { mode: 'form', message, requestedSchema: object(properties, Object.keys(properties)) },
  };
}
function sampling(asked) {
  const messages = [{ role: 'user', content: { type: 'text', text: asked } }];
  return { method: 'sampling/createMessage', params: { messages, maxTokens: 100 } };
}
/** What a client must answer first, and the state it has to bring back with its answers. */
function wanted(inputRequests, state) {
  return { resultType: 'input_required', inputRequests, ...(state && { requestState: seal(state) }) };
}

const SECRET = randomUUID();
const mac = (data) => createHmac('sha256', SECRET).update(data).digest('hex');
function seal(state) {
  const data = JSON.stringify({ ...state, nonce: randomUUID() });
  return `${mac(data)}.${spelled(data)}`;
}
function spelled(data) {
  return Buffer.from(data).toString('base64');
}
function unseal(sealed) {
  const [seen, encoded] = sealed.split('.');
  const data = Buffer.from(encoded ?? '', 'base64').toString();
  if (seen !== mac(data) || spelled(data) !== encoded) throw new RpcError(-32602, 'requestState was changed', 400);
  return JSON.parse(data);
}

// ---- prompts, resources, completion ---------------------------------------------------------------------------------

const user = (content) => ({ role: 'user', content });
const PROMPTS = {
  test_simple_prompt: { run: () => [user({ type: 'text', text: 'This is a simple prompt for testing.' })] },
  test_prompt_with_arguments: {
    arguments: ['arg1', 'arg2'],
    run: ({ arg1, arg2 }) => [user({ type: 'text', text: `Prompt with arguments: arg1='${arg1}', arg2='${arg2}'` })],
  },
  test_prompt_with_embedded_resource: {
    arguments: ['resourceUri'],
    run: ({ resourceUri }) => [
      user(resource(resourceUri, 'text/plain', 'Embedded resource content for testing.')),
      user({ type: 'text', text: 'Please process the embedded resource above.' }),
    ],
  },
  test_prompt_with_image: {
    run: () => [
      user({ type: 'image', data: PNG, mimeType: 'image/png' }),
      user({ type: 'text', text: 'Please analyze the image above.' }),
    ],
  },
  test_input_required_result_prompt: {
    modern: true,
    run: (_args, { answers }) =>
      answers.user_context
        ? [user({ type: 'text', text: `Context: ${answers.user_context.content?.context}` })]
        : wanted({ user_context: elicitation('What context should the prompt use?', { context: string() }) }),
  },
};
const RESOURCES = {
  'test://static-text': ['text/plain', { text: 'This is the content of the static text resource.' }],
  'test://static-binary': ['image/png', { blob: PNG }],
  'test://watched-resource': ['text/plain', { text: 'Watched resource content' }],
};
const TEMPLATE = /^test:\/\/template\/([^/]+)\/data$/;

function read(uri) {
  const found = RESOURCES[uri];
  if (found) return [{ uri, mimeType: found[0], ...found[1] }];
  const id = TEMPLATE.exec(uri)?.[1];
  if (id === undefined) throw new RpcError(-32602, `Resource not found: ${uri}`, 200, { uri });
  const said = JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` });
  return [{ uri, mimeType: 'application/json', text: said }];
}

// ---- methods --------------------------------------------------------------------------------------------------------

const CAPABILITIES = {
  tools: { listChanged: true }, prompts: { listChanged: true }, resources: { subscribe: true, listChanged: true },
  completions: {},
};
const shown = (entries, isModern) => Object.entries(entries).filter(([, entry]) => isModern || !entry.modern);

const METHODS = {
  'tools/list': (_params, { isModern }) => ({
    tools: shown(TOOLS, isModern).map(([name, tool]) => ({
      name, description: `The tool ${name} of the conformance suite`, inputSchema: tool.inputSchema ?? object(),
    })),
  }),
  'tools/call': async (params, exchange) => {
    const tool = TOOLS[params.name];
    if (!tool || (tool.modern && !exchange.isModern)) throw new RpcError(-32602, `Unknown tool: ${params.name}`);
    return tool.run(params.arguments ?? {}, exchange);
  },
  'prompts/list': (_params, { isModern }) => ({
    prompts: shown(PROMPTS, isModern).map(([name, prompt]) => ({
      name, description: `The prompt ${name}`,
      arguments: (prompt.arguments ?? []).map((name) => ({ name, description: `The argument ${name}`, required: true })),
    })),
  }),
  'prompts/get': (params, exchange) => {
    const prompt = PROMPTS[params.name];
    if (!prompt) throw new RpcError(-32602, `Unknown prompt: ${params.name}`);
    const got = prompt.run(params.arguments ?? {}, exchange);
    return Array.isArray(got) ? { messages: got } : got;
  },
  'resources/list': () => ({
    resources: Object.entries(RESOURCES).map(([uri, [mimeType]]) => ({
      uri, name: uri.slice('test://'.length), description: `The resource ${uri}`, mimeType,
    })),
  }),
  'resources/templates/list': () => ({
    resourceTemplates: [
      { uriTemplate: 'test://template/{id}/data', name: 'template', description: 'Data by id', mimeType: 'application/json' },
    ],
  }),
  'resources/read': (params) => ({ contents: read(params.uri) }),
  'completion/complete': () => ({ completion: { values: ['paris', 'park', 'party'], total: 3, hasMore: false } }),
};
const LEGACY_METHODS = {
  ping: () => ({}),
  'logging/setLevel': () => ({}),
  'resources/subscribe': () => ({}),
  'resources/unsubscribe': () => ({}),
};
const MODERN_METHODS = {
  'server/discover': () => ({ supportedVersions: [MODERN], capabilities: CAPABILITIES, instructions: 'A fixture.' }),
};
const CACHEABLE = new Set([
  'server/discover', 'tools/list', 'prompts/list', 'resources/list', 'resources/templates/list', 'resources/read',
]);

// ---- answers over HTTP ----------------------------------------------------------------------------------------------

function json(response, status, body, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}
function failed(id, error) {
  const { code = -32603, message, data } = error;
  return { jsonrpc: '2.0', id: id ?? null, error: { code, message, ...(data && { data }) } };
}

/** A stream of events with ids, which can break off and be taken up again. */
class EventStream {
  constructor(name) {
    Object.assign(this, { name, events: [], response: undefined, isWhole: false });
  }
  attach(response, after) {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' });
    response.flushHeaders();
    this.response = response;
    response.on('close', () => this.response === response && (this.response = undefined));
    const seen = this.events.findIndex((event) => event.id === after);
    if (after === undefined) response.write(`id: ${this.name}/0\nretry: 300\ndata: \n\n`);
    for (const event of this.events.slice(seen + 1)) response.write(event.text);
    if (this.isWhole) response.end();
  }
  send(message) {
    const id = `${this.name}/${this.events.length + 1}`;
    const event = { id, text: `id: ${id}\nevent: message\ndata: ${JSON.stringify(message)}\n\n` };
    this.events.push(event);
    this.response?.write(event.text);
  }
  break() {
    this.response?.end();
    this.response = undefined;
  }
  end() {
    this.isWhole = true;
    this.break();
  }
}

// ---- sessions: up to 2025-11-25 -------------------------------------------------------------------------------------

const sessions = new Map();

async function legacy(request, response, message) {
  const id = request.headers['mcp-session-id'];
  if (message?.method === 'initialize') {
    const session = { id: randomUUID(), streams: new Map(), waiting: new Map(), asked: 0 };
    sessions.set(session.id, session);
    const offered = message.params?.protocolVersion;
    const protocolVersion = LEGACY.includes(offered) ? offered : LEGACY[0];
    const result = {
      protocolVersion, capabilities: { ...CAPABILITIES, logging: {} }, serverInfo: { name: 'fixture', version: '1' },
    };
    return json(response, 200, { jsonrpc: '2.0', id: message.id, result }, { 'mcp-session-id': session.id });
  }
  if (id === undefined) return json(response, 400, failed(message?.id, { code: -32000, message: 'no session id' }));
  const session = sessions.get(id);
  if (!session) return json(response, 404, failed(message?.id, { code: -32001, message: 'no such session' }));
  const version = request.headers['mcp-protocol-version'];
  if (version !== undefined && !LEGACY.includes(version)) {
    return json(response, 400, failed(message?.id, { code: -32000, message: `unknown version ${version}` }));
  }
  if (request.method === 'DELETE') {
    for (const stream of session.streams.values()) stream.end();
    sessions.delete(id);
    return json(response, 200, {});
  }
  if (request.method === 'GET') {
    const after = request.headers['last-event-id'];
    const name = after?.split('/')[0] ?? randomUUID();
    const stream = session.streams.get(name) ?? new EventStream(name);
    session.streams.set(name, stream);
    return stream.attach(response, after);
  }
  if (message.method === undefined) {
    session.waiting.get(message.id)?.(message);
    return json(response, 202);
  }
  if (message.id === undefined) return json(response, 202);
  const method = METHODS[message.method] ?? LEGACY_METHODS[message.method];
  if (!method) return json(response, 200, failed(message.id, { code: -32601, message: 'method not found' }));
  if (message.method !== 'tools/call') {
    return json(response, 200, await answered(message, method, { isModern: false, answers: {} }));
  }
  const stream = new EventStream(randomUUID());
  session.streams.set(stream.name, stream);
  stream.attach(response);
  stream.send(await answered(message, method, legacyExchange(session, stream, message)));
  stream.end();
}

function legacyExchange(session, stream, message) {
  const notify = (method, params) => stream.send({ jsonrpc: '2.0', method, params });
  return {
    isModern: false,
    capabilities: {},
    answers: {},
    progressToken: message.params?._meta?.progressToken,
    notify,
    log: (level, data) => notify('notifications/message', { level, data }),
    breakStream: () => stream.break(),
    ask: (method, params) =>
      new Promise((answer, refuse) => {
        const id = `asked-${++session.asked}`;
        session.waiting.set(id, ({ result, error }) => (error ? refuse(new Error(error.message)) : answer(result)));
        stream.send({ jsonrpc: '2.0', id, method, params });
      }),
  };
}

async function answered(message, method, exchange) {
  try {
    return { jsonrpc: '2.0', id: message.id, result: await method(message.params ?? {}, exchange) };
  } catch (error) {
    return failed(message.id, error);
  }
}

// ---- every message for itself: 2026-07-28 ---------------------------------------------------------------------------

const listeners = new Set();

function changed(kind) {
  for (const listener of listeners) {
    if (listener.wants[`${kind}ListChanged`]) listener.send(`notifications/${kind}/list_changed`, {});
  }
  return text(`${kind} changed`);
}

function plain(value) {
  const encoded = /^=\?base64\?(.*)\?=$/.exec(value)?.[1];
  if (encoded === undefined) return value;
  const bytes = Buffer.from(encoded, 'base64');
  if (bytes.toString('base64') !== encoded) throw new RpcError(-32020, 'a header is not base64', 400);
  return bytes.toString();
}

function checkHeaders(headers, { method, params = {} }) {
  const differs = (name) => new RpcError(-32020, `header ${name} differs from the body or is missing`, 400);
  if (headers['mcp-method'] !== method) throw differs('mcp-method');
  const name = { 'tools/call': params.name, 'prompts/get': params.name, 'resources/read': params.uri }[method];
  const header = headers['mcp-name'];
  if (name !== undefined && (header === undefined || plain(header) !== name)) throw differs('mcp-name');
  if (method !== 'tools/call') return;
  const properties = TOOLS[params.name]?.inputSchema?.properties ?? {};
  for (const [key, { 'x-mcp-header': suffix }] of Object.entries(properties)) {
    if (suffix === undefined) continue;
    const said = headers[`mcp-param-${suffix.toLowerCase()}`];
    const meant = params.arguments?.[key];
    if (said === undefined && (meant === undefined || meant === null)) continue;
    const equal = typeof meant === 'number' ? Number(plain(said ?? '')) === meant : said !== undefined && plain(said) === String(meant);
    if (!equal || /[^\x20-\x7e]/.test(said)) throw differs(`mcp-param-${suffix}`);
  }
}

async function modern(request, response, message) {
  const { id, method, params = {} } = message;
  try {
    const meta = params._meta ?? {};
    const version = meta[`${META}protocolVersion`];
    const header = request.headers['mcp-protocol-version'];
    if (header === undefined) throw new RpcError(-32020, 'header mcp-protocol-version is missing', 400);
    if (typeof version !== 'string' || typeof meta[`${META}clientCapabilities`] !== 'object') {
      throw new RpcError(-32602, 'params._meta lacks what every request carries', 400);
    }
    if (header !== version) throw new RpcError(-32020, 'header mcp-protocol-version differs from the body', 400);
    if (version !== MODERN) {
      throw new RpcError(-32022, 'Unsupported protocol version', 400, { supported: [MODERN], requested: version });
    }
    checkHeaders(request.headers, message);
    if (method === 'subscriptions/listen') return listen(response, id, params);
    const run = METHODS[method] ?? MODERN_METHODS[method];
    if (!run) throw new RpcError(-32601, `Method not found: ${method}`, 404);
    const answers = params.inputResponses ?? {};
    if (Object.values(answers).some((answer) => typeof answer !== 'object' || answer === null)) {
      throw new RpcError(-32602, 'an input response is not an object', 400);
    }
    const told = [];
    const notify = (method, params) => told.push({ jsonrpc: '2.0', method, params });
    const exchange = {
      isModern: true,
      capabilities: meta[`${META}clientCapabilities`],
      answers,
      state: params.requestState === undefined ? undefined : unseal(params.requestState),
      progressToken: meta.progressToken,
      notify,
      log: (level, data) => meta[`${META}logLevel`] && notify('notifications/message', { level, data }),
      breakStream: () => {},
      ask: () => Promise.reject(new RpcError(-32603, 'this generation of the protocol has no requests of a server')),
    };
    const result = { resultType: 'complete', ...(await run(params, exchange)) };
    if (CACHEABLE.has(method)) Object.assign(result, { ttlMs: 300000, cacheScope: 'private' });
    result._meta = { ...result._meta, [`${META}serverInfo`]: { name: 'fixture', version: '1' } };
    const whole = { jsonrpc: '2.0', id, result };
    if (told.length === 0) return json(response, 200, whole);
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' });
    for (const one of [...told, whole]) response.write(`event: message\ndata: ${JSON.stringify(one)}\n\n`);
    response.end();
  } catch (error) {
    json(response, error.status ?? 200, failed(id, error));
  }
}

function listen(response, id, params) {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' });
  const listener = {
    wants: params.notifications ?? {},
    send: (method, more) => {
      const params = { ...more, _meta: { [`${META}subscriptionId`]: id } };
      response.write(`event: message\ndata: ${JSON.stringify({ jsonrpc: '2.0', method, params })}\n\n`);
    },
  };
  const { toolsListChanged, promptsListChanged } = listener.wants;
  const notifications = { ...(toolsListChanged && { toolsListChanged }), ...(promptsListChanged && { promptsListChanged }) };
  listener.send('notifications/subscriptions/acknowledged', { notifications });
  listeners.add(listener);
  response.on('close', () => listeners.delete(listener));
}

// ---- the endpoint ---------------------------------------------------------------------------------------------------

const local = (name) => /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(name);

const server = createServer(async (request, response) => {
  const { host, origin } = request.headers;
  if (!local(host ?? '') || (origin !== undefined && !local(origin.replace(/^https?:\/\//, '')))) {
    return json(response, 403, failed(null, { code: -32000, message: 'host or origin is not this server' }));
  }
  let body = '';
  request.setEncoding('utf8');
  for await (const piece of request) body += piece;
  let message;
  try {
    message = request.method === 'POST' ? JSON.parse(body) : undefined;
  } catch {
    return json(response, 400, failed(null, { code: -32700, message: 'not JSON' }));
  }
  const version = request.headers['mcp-protocol-version'];
  const hasEnvelope = message?.params?._meta?.[`${META}protocolVersion`] !== undefined;
  const isLegacy =
    !hasEnvelope && (message?.method === 'initialize' || request.headers['mcp-session-id'] !== undefined || LEGACY.includes(version));
  if (message !== undefined && !isLegacy && (hasEnvelope || version !== undefined)) {
    return message.id === undefined ? json(response, 202) : modern(request, response, message);
  }
  if (message === undefined && !['GET', 'DELETE'].includes(request.method)) return json(response, 405);
  if (message === undefined && version === MODERN) return json(response, 405);
  return legacy(request, response, message);
});
server.listen(Number(process.env.PORT), '127.0.0.1');
