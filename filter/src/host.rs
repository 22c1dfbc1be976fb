//! Steps 1, 2 and 10 at the wall: Envoy's callbacks become [`HostEvent`]s, [`HostCommand`]s become host calls.
//!
//! Nothing is decided here. The SDK dispatches the callbacks; every host call but the callout itself goes through
//! [`abi`], which cannot panic. (The callout needs the SDK, which remembers whose answer is whose.)

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::audit_buffer::{IS_KEPT, NOT_KEPT};
use crate::definitions;
use crate::desk::Desk;
use crate::exchange::{
    Callout, CalloutAnswer, Exchange, Forward, HostCommand, HostEvent, LogLevel, RequestHead, Surroundings,
};
use crate::metrics::Metric;
use crate::past;
use crate::refusal;
use crate::session;
use crate::usage;
use crate::worker::Worker;
use holdpoint_core::audit::{AuditEntry, EntryKind};
use holdpoint_core::config::FilterConfig;
use holdpoint_core::wire::WIRE_HEADER;
use sending::Kind;

mod abi;
mod candidates;
mod clock;
mod facts;
mod freezes;
mod gauges;
mod in_force;
mod inventory;
mod logger;
mod pairs;
mod record;
mod sending;
mod shared;

/// How often deadlines are looked at. Envoy's timers are per root context and worker; one tick serves every hold.
const TICK_MS: u32 = 50;

/// How many answers and releases one callback may cause, and how soon the next tick is while there are more. Envoy carries them
/// out when the callback is over, each from within the one before it, for each calls into the VM again: of a hundred and more V8 says
/// that the stack is full, and the VM is dead with all who wait on its worker.
const SETTLED_MAX: u32 = 16;
const TICK_AGAIN_MS: u32 = 1;

/// The same as [`TICK_MS`] where calls wait for their entries (`audit.required`): entries leave, many at once, with each tick.
const TICK_RECORDED_MS: u32 = 5;

/// How soon a change of the log level takes effect, and growth of the VM's memory shows.
const LOOK_EVERY_MS: u64 = 1_000;

thread_local! {
    /// When the event that is being handled came.
    static BEGAN_AT_US: Cell<u64> = const { Cell::new(0) };
    static NEXT_LOOK_AT_MS: Cell<u64> = const { Cell::new(0) };
    /// Answers and releases since the last tick, or answer of a callout, began.
    static SETTLED: Cell<u32> = const { Cell::new(0) };
    /// What this VM keeps. Several root contexts share it while a configuration is replaced.
    static WORKER: RefCell<Option<Worker>> = const { RefCell::new(None) };
    /// What each plugin has with its service.
    static DESKS: RefCell<BTreeMap<Rc<str>, Desk>> = const { RefCell::new(BTreeMap::new()) };
    /// Every live exchange by its context id.
    static EXCHANGES: RefCell<BTreeMap<u32, Live>> = const { RefCell::new(BTreeMap::new()) };
    /// Callouts in flight: token → (context id, ask).
    static CALLOUTS: RefCell<BTreeMap<u32, Waiting>> = const { RefCell::new(BTreeMap::new()) };
}

/// A live exchange, and the token of the callout it waits for.
struct Live {
    exchange: Weak<RefCell<Exchange>>,
    waits_for: Option<u32>,
}

/// Who waits for a callout.
enum Waiting {
    Exchange {
        context_id: u32,
        ask: u32,
    },
    /// The desk of this plugin.
    Sent(Kind, Rc<str>),
    Freezes(Rc<str>),
    InForce,
}

proxy_wasm::main! {{
    logger::install();
    proxy_wasm::set_root_context(|context_id| Box::new(Root { context_id, plugin: Rc::from(""), config: None, hurries: false }));
}}

/// Follows the level of Envoy's logger: lines that it would drop are not even made.
fn follow_log_level() {
    let level = match abi::log_level() {
        Some(0) => log::LevelFilter::Trace,
        Some(1) => log::LevelFilter::Debug,
        Some(2) | None => log::LevelFilter::Info,
        Some(3) => log::LevelFilter::Warn,
        Some(_) => log::LevelFilter::Error,
    };
    log::set_max_level(level);
    with_worker(|worker| {
        worker.logs_info = level >= log::LevelFilter::Info;
        worker.logs_debug = level >= log::LevelFilter::Debug;
    });
}

/// One configuration of the plugin on one worker.
struct Root {
    context_id: u32,
    plugin: Rc<str>,
    config: Option<Rc<FilterConfig>>,
    /// Its ticks come fast, because the last one did not get through.
    hurries: bool,
}

impl Root {
    /// Has the next tick come soon when this one left something over, and in its time otherwise.
    fn pace(&mut self) {
        let is_behind = has_settled_enough();
        if self.hurries == is_behind {
            return;
        }
        let is_required = self.config.as_ref().is_some_and(|config| config.audit.required);
        if abi::set_tick_period_ms(if is_behind { TICK_AGAIN_MS } else { tick_ms(is_required) }).is_ok() {
            self.hurries = is_behind;
        }
    }
}

/// How often a plugin looks at deadlines.
fn tick_ms(is_record_required: bool) -> u32 {
    if is_record_required { TICK_RECORDED_MS } else { TICK_MS }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, _headers: usize, _body: usize, _trailers: usize) {
        on_callout_answered(token);
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let text = abi::body(abi::Body::PluginConfiguration).unwrap_or_default();
        match FilterConfig::read(&text) {
            Ok(mut config) => {
                self.plugin = facts::plugin().into();
                if let Err(error) = abi::set_tick_period_ms(tick_ms(config.audit.required)) {
                    log::error!("holdpoint: no ticks from the host (status {}): configuration refused", error.0);
                    return false;
                }
                if WORKER.with_borrow(Option::is_none) {
                    let mut seed = [0; 32];
                    if getrandom::fill(&mut seed).is_err() {
                        log::error!("holdpoint: no random numbers from the host: configuration refused");
                        return false;
                    }
                    WORKER.with_borrow_mut(|slot| *slot = Some(Worker::new(seed, facts::gateway())));
                }
                if !clock::begin() {
                    log::warn!("holdpoint: the host has no steady clock: deadlines follow the wall clock");
                }
                let rules = config.policy.concurrency_rules();
                usage::prepare(&mut shared::EnvoySharedData, &self.plugin, rules, config.policy.counts_calls());
                open_desk(&self.plugin);
                follow_wall_clock();
                session::prepare(&mut shared::EnvoySharedData);
                past::prepare(&mut shared::EnvoySharedData, &self.plugin, &config.policy, clock::now_ms());
                definitions::prepare(&mut shared::EnvoySharedData);
                config.standing = in_force::enter(&self.plugin, config.policy.id());
                let config = Rc::new(config);
                with_worker(|worker| worker.put_in_force(&self.plugin, Rc::clone(&config)));
                freezes::remember(&self.plugin);
                follow_log_level();
                gauges::define();
                gauges::follow_memory();
                gauges::policy_in_force(&self.plugin, &config.policy.id());
                log::info!("holdpoint: policy {} in force", config.policy.id());
                if !IS_KEPT {
                    log::error!("holdpoint: {NOT_KEPT}");
                }
                self.config = Some(config);
                true
            }
            Err(problems) => {
                for problem in problems.to_string().lines() {
                    log::error!("holdpoint: configuration refused: {problem}");
                }
                false
            }
        }
    }

    fn on_tick(&mut self) {
        let now_ms = clock::now_ms();
        if NEXT_LOOK_AT_MS.get() <= now_ms {
            NEXT_LOOK_AT_MS.set(now_ms.saturating_add(LOOK_EVERY_MS));
            follow_log_level();
            follow_wall_clock();
            gauges::follow_memory();
        }
        // Bounded per tick, so that a crowd of deadlines cannot starve the worker's other work.
        const WAKES_MAX: usize = 1_000;
        SETTLED.set(0);
        let plugins: Vec<Rc<str>> = DESKS.with_borrow(|desks| desks.keys().cloned().collect());
        plugins.iter().for_each(record::tell_settled);
        for _ in 0..WAKES_MAX {
            if has_settled_enough() {
                break;
            }
            let Some(Some(context_id)) = with_worker(|worker| worker.next_due(now_ms)) else { break };
            deliver_detached(context_id, HostEvent::Wake);
        }
        for plugin in &plugins {
            // Who comes into the line meanwhile is called with the next tick.
            for _ in 0..with_desk(plugin, |desk| desk.queue.len()).unwrap_or_default().min(WAKES_MAX) {
                if has_settled_enough() {
                    break;
                }
                let Some(Some(context_id)) = with_desk(plugin, |desk| desk.queue.call()) else { break };
                deliver_detached(context_id, HostEvent::Turn);
            }
        }
        // What the exchanges did made another context effective.
        if abi::set_effective_context(self.context_id).is_ok() {
            self.pace();
            for _ in 0..WAKES_MAX {
                let Some(Some(callout)) = with_worker(|worker| worker.next_told(now_ms)) else { break };
                tell(&callout);
            }
            // Those of all plugins: one whose configuration is gone has no tick of its own any more.
            for plugin in &plugins {
                Kind::ALL.into_iter().for_each(|kind| sending::flush(kind, plugin, now_ms));
                freezes::poll(plugin, now_ms);
            }
            in_force::report(now_ms);
        }
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        let exchange = self
            .config
            .as_ref()
            .map(|config| Rc::new(RefCell::new(Exchange::new(Rc::clone(&self.plugin), Rc::clone(config)))));
        if let Some(exchange) = &exchange {
            let live = Live { exchange: Rc::downgrade(exchange), waits_for: None };
            EXCHANGES.with_borrow_mut(|all| all.insert(context_id, live));
        }
        Some(Box::new(Http { context_id, exchange, kept_bytes: 0 }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// One exchange, as Envoy calls it.
struct Http {
    context_id: u32,
    /// `None` when there is no configuration to judge by: then nothing passes.
    exchange: Option<Rc<RefCell<Exchange>>>,
    /// Bytes of the response body that Envoy keeps until more of it is there.
    kept_bytes: usize,
}

impl Http {
    /// Hands an event over and carries out the commands; answers what the callback has to return.
    fn deliver(&self, event: HostEvent) -> Action {
        self.deliver_at(event, Place::Callback, clock::now_us())
    }

    fn deliver_at(&self, event: HostEvent, place: Place, now_us: u64) -> Action {
        match &self.exchange {
            Some(exchange) => {
                let commands = handle(exchange, event, now_us);
                let plugin = Rc::clone(exchange.borrow().plugin());
                carry_out(self.context_id, &plugin, commands, place)
            }
            None => {
                reply(&refusal::broken("it has no configuration"));
                Action::Pause
            }
        }
    }
}

impl Context for Http {
    fn on_http_call_response(&mut self, token: u32, _headers: usize, _body: usize, _trailers: usize) {
        on_callout_answered(token);
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let Some(headers) = facts::request_headers() else {
            reply(&refusal::broken("its headers cannot be read"));
            return Action::Pause;
        };
        let head = RequestHead {
            headers,
            dynamic_metadata: facts::dynamic_metadata(),
            certificate: self
                .exchange
                .as_ref()
                .filter(|exchange| exchange.borrow().reads_certificate())
                .and_then(|_| facts::certificate()),
            route: facts::route(),
            cluster: self
                .exchange
                .as_ref()
                .filter(|exchange| exchange.borrow().reads_cluster())
                .and_then(|_| facts::cluster()),
        };
        let action = self.deliver(HostEvent::RequestHead(head));
        if end_of_stream && action == Action::Pause {
            return self.deliver(HostEvent::RequestComplete { body: Vec::new(), has_trailers: false });
        }
        action
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if end_of_stream {
            let body = abi::body(abi::Body::Request).unwrap_or_default();
            return self.deliver(HostEvent::RequestComplete { body, has_trailers: false });
        }
        let buffered_bytes = u64::try_from(size).unwrap_or(u64::MAX);
        let keeps = |exchange: &Rc<RefCell<Exchange>>| {
            with_worker(|worker| exchange.borrow_mut().keeps_part(buffered_bytes, worker)).unwrap_or_default()
        };
        if self.exchange.as_ref().is_some_and(keeps) {
            return Action::Pause;
        }
        self.deliver(HostEvent::RequestPart { buffered_bytes })
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        // Envoy never marks a body as ended when trailers follow: this callback ends it.
        let body = abi::body(abi::Body::Request).unwrap_or_default();
        self.deliver(HostEvent::RequestComplete { body, has_trailers: true })
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let action = self.deliver(HostEvent::ResponseHead(facts::response_head(!end_of_stream)));
        if end_of_stream && action == Action::Continue {
            return self.deliver(HostEvent::ResponseComplete);
        }
        action
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let now_us = clock::now_us();
        // While the answer is kept, `size` counts what was kept before as well.
        let new_bytes = size.saturating_sub(self.kept_bytes);
        let mut action = if self.kept_bytes > 0 { Action::Pause } else { Action::Continue };
        if new_bytes > 0 {
            let reads = self.exchange.as_ref().is_some_and(|exchange| exchange.borrow().reads_answer());
            let event = if reads {
                let Some(bytes) = abi::body_part(abi::Body::Response, self.kept_bytes, new_bytes) else {
                    log::error!("holdpoint: a piece of an answer cannot be read: closed");
                    close_answer();
                    return Action::Pause;
                };
                HostEvent::ResponsePart { bytes }
            } else {
                HostEvent::ResponsePassed { size_bytes: u64::try_from(new_bytes).unwrap_or(u64::MAX) }
            };
            action = self.deliver_at(event, Place::Callback, now_us);
        }
        if end_of_stream {
            action = self.deliver_at(HostEvent::ResponseComplete, Place::Callback, now_us);
        }
        self.kept_bytes = if action == Action::Pause { size } else { 0 };
        action
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        let place = if self.kept_bytes > 0 { Place::Callback } else { Place::TrailersOnly };
        self.deliver_at(HostEvent::ResponseComplete, place, clock::now_us())
    }

    fn on_log(&mut self) {
        if let Some(exchange) = &self.exchange {
            self.deliver(HostEvent::Closed);
            with_desk(&Rc::clone(exchange.borrow().plugin()), |desk| desk.queue.forget(self.context_id));
        }
        let live = EXCHANGES.with_borrow_mut(|all| all.remove(&self.context_id));
        // The SDK drops the answer of a context that is gone: nobody else would forget the token.
        if let Some(token) = live.and_then(|live| live.waits_for) {
            CALLOUTS.with_borrow_mut(|all| all.remove(&token));
        }
    }
}

/// Where commands are carried out: inside a callback of their own exchange, which returns an [`Action`], or outside,
/// where a paused request must be told to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Callback,
    /// The callback for the trailers of a response of whose body nothing is kept.
    TrailersOnly,
    Detached,
}

fn with_worker<T>(act: impl FnOnce(&mut Worker) -> T) -> Option<T> {
    WORKER.with_borrow_mut(|worker| worker.as_mut().map(act))
}

fn with_desk<T>(plugin: &str, act: impl FnOnce(&mut Desk) -> T) -> Option<T> {
    DESKS.with_borrow_mut(|desks| desks.get_mut(plugin).map(act))
}

/// Makes the desk of a plugin that has none in this VM yet. Whatever an earlier VM in this one's place had not handed over
/// is lost: its first entry shows where.
fn open_desk(plugin: &Rc<str>) {
    if with_desk(plugin, |_| ()).is_some() {
        return;
    }
    let source = with_worker(|worker| format!("{}/{}", worker.gateway, worker.ids.next_id()));
    let mut desk = Desk::new(source.unwrap_or_default());
    desk.audit.wall_ahead_ms = clock::wall_ahead_ms();
    desk.audit.push(AuditEntry::new(EntryKind::SourceBegan, clock::now_ms()));
    DESKS.with_borrow_mut(|desks| desks.insert(Rc::clone(plugin), desk));
}

/// The configuration by which a plugin speaks to its service now.
fn in_force_of(plugin: &str) -> Option<Rc<FilterConfig>> {
    with_worker(|worker| worker.in_force(plugin)).flatten()
}

/// Entries and claims have the times of the wall clock, wherever that is set by now.
fn follow_wall_clock() {
    let ahead_ms = clock::wall_ahead_ms();
    with_worker(|worker| worker.set_wall_ahead_ms(ahead_ms));
    DESKS.with_borrow_mut(|desks| desks.values_mut().for_each(|desk| desk.audit.wall_ahead_ms = ahead_ms));
}

fn handle(exchange: &Rc<RefCell<Exchange>>, event: HostEvent, now_us: u64) -> Vec<HostCommand> {
    BEGAN_AT_US.set(now_us);
    let now_ms = now_us / 1_000;
    let mut exchange = exchange.borrow_mut();
    let plugin = Rc::clone(exchange.plugin());
    let commands = with_worker(|worker| {
        with_desk(&plugin, |desk| {
            let mut around = Surroundings { now_ms, worker, desk, shared: &mut shared::EnvoySharedData };
            exchange.handle(event, &mut around)
        })
    });
    commands.flatten().unwrap_or_else(|| vec![HostCommand::Reply(refusal::broken("it has no worker state"))])
}

/// Hands an event to an exchange from outside its own callbacks.
fn deliver_detached(context_id: u32, event: HostEvent) {
    let exchange = EXCHANGES.with_borrow(|all| all.get(&context_id).and_then(|live| live.exchange.upgrade()));
    // A context that Envoy no longer knows cannot be acted on, and never runs.
    if let Some(exchange) = exchange
        && abi::set_effective_context(context_id).is_ok()
    {
        let commands = handle(&exchange, event, clock::now_us());
        let plugin = Rc::clone(exchange.borrow().plugin());
        carry_out(context_id, &plugin, commands, Place::Detached);
    }
}

fn on_callout_answered(token: u32) {
    SETTLED.set(0);
    let Some(waiting) = CALLOUTS.with_borrow_mut(|all| all.remove(&token)) else { return };
    let bytes = abi::headers(abi::Headers::CalloutResponse).unwrap_or_default();
    let headers = pairs::read(&bytes).unwrap_or_default();
    let wire = headers.iter().find(|(name, _)| *name == WIRE_HEADER.as_bytes());
    let answer = CalloutAnswer::received(
        facts::status(&headers),
        wire.map(|(_, value)| *value),
        abi::body(abi::Body::CalloutResponse).unwrap_or_default(),
    );
    match waiting {
        Waiting::Exchange { context_id, ask } => {
            deliver_detached(context_id, HostEvent::CalloutAnswered { ask, answer })
        }
        Waiting::Sent(kind, plugin) => sending::answered(kind, &plugin, &answer),
        Waiting::Freezes(plugin) => freezes::answered(&plugin, &answer),
        Waiting::InForce => in_force::answered(&answer),
    }
}

/// Carries out commands in order. The last of `Pause`, `Continue`, `Forward` and `Reply` decides about the request.
fn carry_out(context_id: u32, plugin: &Rc<str>, commands: Vec<HostCommand>, place: Place) -> Action {
    let mut action = Action::Pause;
    let mut follow_up = None;
    for command in commands {
        match command {
            HostCommand::Pause => action = Action::Pause,
            HostCommand::Continue => action = Action::Continue,
            HostCommand::Forward(forward) => action = release(&forward, place),
            HostCommand::Reply(local) => {
                reply(&local);
                action = Action::Pause;
            }
            HostCommand::EditAnswer(edit) => {
                if let Err(error) = facts::edit(abi::Headers::Response, &edit) {
                    log::error!("holdpoint: a response header was not changed (status {})", error.0);
                }
            }
            // No piece is at hand there. An event that no blank line ended is dropped, as clients do.
            HostCommand::ReplaceBody(_) | HostCommand::AppendBody(_) if place == Place::TrailersOnly => {}
            HostCommand::ReplaceBody(bytes) => change_answer(abi::replace_body(abi::Body::Response, &bytes)),
            HostCommand::AppendBody(bytes) => change_answer(abi::append_body(abi::Body::Response, &bytes)),
            HostCommand::CloseAnswer => {
                close_answer();
                action = Action::Pause;
            }
            HostCommand::Ask(callout) => {
                let ask = callout.ask;
                match call_out(&callout) {
                    Some(token) => {
                        CALLOUTS.with_borrow_mut(|all| all.insert(token, Waiting::Exchange { context_id, ask }));
                        EXCHANGES.with_borrow_mut(|all| {
                            if let Some(live) = all.get_mut(&context_id) {
                                live.waits_for = Some(token);
                            }
                        });
                    }
                    // Nothing will answer: the exchange hears so as soon as its present commands are done.
                    None => follow_up = Some(ask),
                }
            }
            HostCommand::Tell(callout) => tell(&callout),
            HostCommand::TellAt(at_ms, mut callout) => {
                // By then nothing will be known of this exchange.
                callout.cluster = callout.cluster.or_else(facts::cluster);
                let no_room = with_worker(|worker| worker.tell_at(at_ms, callout)).flatten();
                no_room.iter().for_each(tell);
            }
            HostCommand::WakeAt(at_ms) => {
                with_worker(|worker| worker.wake_at(at_ms, context_id));
            }
            HostCommand::AwaitTurn => {
                with_desk(plugin, |desk| desk.queue.join(context_id));
            }
            HostCommand::AwaitRecord(counter) => {
                with_desk(plugin, |desk| desk.await_record(counter, context_id));
            }
            HostCommand::FilterState(name, value) => {
                if let Err(error) = abi::set_filter_state(name, value.as_bytes()) {
                    log::warn!("holdpoint: filter state {name} not written (status {})", error.0);
                }
            }
            HostCommand::Record(entry) => count_lost(with_desk(plugin, |desk| desk.audit.push(entry))),
            HostCommand::RecordRefusal(entry) => count_lost(with_desk(plugin, |desk| desk.audit.push_refusal(entry))),
            HostCommand::Count(metric, by) => gauges::add(metric, by),
            HostCommand::Decided(line) => {
                let took_us = clock::now_us().saturating_sub(BEGAN_AT_US.get());
                log::log!(line.level(), "holdpoint: {}", line.text(took_us));
            }
            HostCommand::Log(LogLevel::Info, line) => log::info!("holdpoint: {line}"),
            HostCommand::Log(LogLevel::Warn, line) => log::warn!("holdpoint: {line}"),
            HostCommand::Log(LogLevel::Error, line) => log::error!("holdpoint: {line}"),
        }
    }
    if let Some(ask) = follow_up {
        let answer = CalloutAnswer { status: None, body: Vec::new() };
        deliver_detached(context_id, HostEvent::CalloutAnswered { ask, answer });
    }
    action
}

/// A body that could not be changed must not go on as it was.
fn change_answer(changed: Result<(), abi::HostError>) {
    if let Err(error) = changed {
        log::error!("holdpoint: an answer could not be changed (status {}): closed", error.0);
        close_answer();
    }
}

/// Once the head of an answer has left, all that Envoy can still do with a local reply is to reset the stream, and unlike
/// a direct reset it does so after this call into the VM has returned.
fn close_answer() {
    note_settled();
    if let Err(error) = abi::send_local_reply(500, &[], &[], "holdpoint_answer_closed") {
        log::error!("holdpoint: an answer could not be closed (status {})", error.0);
    }
}

fn count_lost(kept: Option<bool>) {
    if kept != Some(true) {
        gauges::add(Metric::AuditLost, 1);
    }
}

/// Step 10. Edits make Envoy choose a route again, which it does after this filter and out of its sight: that the choice
/// is still the server this call was judged for is for the RBAC filter behind this one to see (`envoy/envoy.yaml`).
fn release(forward: &Forward, place: Place) -> Action {
    for edit in &forward.edits {
        if let Err(error) = facts::edit(abi::Headers::Request, edit) {
            log::error!("holdpoint: header edit failed (status {}): refused", error.0);
            reply(&refusal::broken("its headers cannot be changed"));
            return Action::Pause;
        }
    }
    if let Some(body) = &forward.body {
        // Envoy does not mend the length by itself; a wrong one would desynchronise the connection to the server.
        let length = body.len().to_string();
        let replaced = abi::replace_header(abi::Headers::Request, "content-length", length.as_bytes())
            .and_then(|()| abi::replace_body(abi::Body::Request, body));
        if let Err(error) = replaced {
            log::error!("holdpoint: the body could not be replaced (status {}): refused", error.0);
            reply(&refusal::broken("its body cannot be changed"));
            return Action::Pause;
        }
    }
    if place == Place::Detached {
        note_settled();
        if let Err(error) = abi::continue_request() {
            log::error!("holdpoint: a released call could not go on (status {})", error.0);
        }
    }
    Action::Continue
}

fn reply(local: &refusal::LocalReply) {
    note_settled();
    let headers: Vec<(&str, &str)> = local.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let details = format!("holdpoint_{}", local.details);
    if let Err(error) = abi::send_local_reply(local.status, &headers, local.body.as_bytes(), &details) {
        // The request stays paused: without an answer, but never through.
        log::error!("holdpoint: a refusal could not be sent (status {})", error.0);
    }
}

/// Envoy has something to carry out when this callback is over.
fn note_settled() {
    SETTLED.set(SETTLED.get().saturating_add(1));
}

/// Whether the rest has to wait for another callback.
fn has_settled_enough() -> bool {
    SETTLED.get() >= SETTLED_MAX
}

/// Sends a callout for whose answer nobody waits.
fn tell(callout: &Callout) {
    if call_out(callout).is_none() {
        log::warn!("holdpoint: {} could not be told: {} {}", callout.authority, callout.method, callout.path);
    }
}

/// Starts a callout from the effective context; `None` when the host would not.
fn call_out(callout: &Callout) -> Option<u32> {
    let of_route = if callout.cluster.is_none() { facts::cluster() } else { None };
    let Some(cluster) = callout.cluster.as_deref().or(of_route.as_deref()) else {
        log::error!("holdpoint: no callout to `{}`: its cluster is not known", callout.authority);
        return None;
    };
    let mut headers =
        vec![(":method", callout.method), (":path", callout.path.as_str()), (":authority", callout.authority.as_str())];
    headers.extend(callout.headers.iter().map(|(name, value)| (*name, value.as_str())));
    let body = (!callout.body.is_empty()).then_some(callout.body.as_slice());
    let timeout = Duration::from_millis(u64::from(callout.timeout_ms));
    match proxy_wasm::hostcalls::dispatch_http_call(cluster, headers, body, Vec::new(), timeout) {
        Ok(token) => Some(token),
        Err(status) => {
            log::error!("holdpoint: no callout to cluster `{cluster}`: {status:?} (is the cluster defined?)");
            None
        }
    }
}
