//! One client's WebSocket: what it gets, and when.
//!
//! Newest only: what is new of all subscriptions is sent at once, then a ping, and nothing more until the client's network has
//! answered that. So to a client that is slow, or has stopped reading, there is one message of each subscription under way, and
//! the next one is the newest at that time.

use super::live::{Answer, Live, Samples, Topic};
use super::protocol::{self, Call, Parameter, Request, Subscription};
use crate::actions::ACTIONS;
use crate::viewer::hub::Seat;
use crate::viewer::requests::{Command, parameter_command};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use core::{pin::pin, time::Duration};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use tokio::sync::{broadcast::error::RecvError, watch};
use tokio::time::{interval, timeout};

/// A client that takes nothing, or does not answer a ping, for this long is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a client may hear nothing before it is pinged.
const QUIET: Duration = Duration::from_secs(5);

/// How long the broker has to answer a command.
const ANSWER_TIME: Duration = Duration::from_secs(3);

/// How often it is looked for what took too long.
const LOOK: Duration = Duration::from_millis(250);

/// What a client without the token is told when it commands.
const NEEDS_TOKEN: &str = "commands need the token that the viewer printed when it started: connect to \
    ws://HOST:PORT/?token=TOKEN";

/// Subscriptions of one client, and commands of it that wait for their answer, each at most.
const MAX_KEPT: usize = 64;

/// Bounds on what a client sends, and the protocols that it may speak.
pub(crate) fn limits(socket: WebSocketUpgrade) -> WebSocketUpgrade {
    socket
        .protocols(protocol::SUBPROTOCOLS)
        .max_message_size(protocol::MAX_REQUEST)
        .max_frame_size(protocol::MAX_REQUEST)
}

/// Serves one client until it leaves or the viewer stops. `commands` says whether it may command.
pub(crate) async fn run(mut socket: WebSocket, seat: Seat, may_command: bool) {
    let hub = seat.hub();
    let mut client = Client::new(&seat, may_command);
    let mut changes = hub.live().changes();
    let mut answers = hub.live().answers();
    let mut stopped = pin!(hub.stopped());
    let mut look = interval(LOOK);
    let (mut pings, mut pinged, mut under_way) = (0_u64, Instant::now(), false);
    let mut outgoing = Client::greeting();
    loop {
        for message in outgoing.drain(..) {
            if !send(&mut socket, message).await {
                return;
            }
        }
        let is_quiet = tokio::select! {
            received = socket.recv() => {
                match received {
                    Some(Ok(Message::Text(text))) => outgoing = client.take(protocol::parse_text(text.as_str())),
                    Some(Ok(Message::Binary(bytes))) => outgoing = client.take(protocol::parse_binary(&bytes)),
                    Some(Ok(Message::Pong(number))) => under_way &= number[..] != pings.to_le_bytes(),
                    Some(Ok(Message::Ping(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                }
                false
            }
            Ok(()) = changes.changed(), if !under_way => {
                outgoing = client.newest();
                !outgoing.is_empty()
            }
            answer = answers.recv() => {
                outgoing = match answer {
                    Ok(answer) => client.answered(&answer),
                    // What was lost is made good: values are told anew, and calls that wait run out.
                    Err(RecvError::Lagged(_)) => client.updates(None),
                    Err(RecvError::Closed) => return,
                };
                false
            }
            _ = look.tick() => {
                if under_way && pinged.elapsed() > PATIENCE {
                    return;
                }
                outgoing = client.overdue();
                !under_way && pinged.elapsed() > QUIET
            }
            () = &mut stopped => {
                let farewell = CloseFrame { code: close_code::AWAY, reason: "the viewer stops".into() };
                send(&mut socket, Message::Close(Some(farewell))).await;
                return;
            }
        };
        if client.has_subscribed() {
            changes.mark_changed();
        }
        if is_quiet {
            (pings, pinged, under_way) = (pings + 1, Instant::now(), true);
            outgoing.push(Message::Ping(pings.to_le_bytes().to_vec().into()));
        }
    }
}

/// Whether the client took the message.
async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(PATIENCE, socket.send(message)).await, Ok(Ok(())))
}

/// What one client is subscribed to and waits for.
struct Client<'a> {
    seat: &'a Seat,
    may_command: bool,
    subscriptions: BTreeMap<u32, Followed>,
    has_subscribed: bool,
    /// The parameters whose changes it wants to know.
    followed_parameters: BTreeSet<String>,
    /// Calls of actions that were passed on and not answered, with the number of the command.
    calls: Vec<(Call, u64, Instant)>,
    /// Parameters that were asked for, under the id of the request, until all are answered.
    wishes: Vec<Wish>,
}

struct Followed {
    samples: watch::Receiver<Samples>,
    /// The number of the last sample that was sent.
    sent: u64,
}

struct Wish {
    id: Option<String>,
    names: Vec<String>,
    waits_for: BTreeSet<String>,
    since: Instant,
}

impl<'a> Client<'a> {
    fn new(seat: &'a Seat, may_command: bool) -> Self {
        Self {
            seat,
            may_command,
            subscriptions: BTreeMap::new(),
            has_subscribed: false,
            followed_parameters: BTreeSet::new(),
            calls: Vec::new(),
            wishes: Vec::new(),
        }
    }

    fn live(&self) -> &Live {
        self.seat.hub().live()
    }

    fn greeting() -> Vec<Message> {
        let channels =
            Topic::ALL.into_iter().map(|topic| (topic.id(), topic.name(), topic.schema_name(), topic.schema()));
        let services = (0..).zip(ACTIONS);
        [protocol::server_info(), protocol::advertise(channels), protocol::advertise_services(services)]
            .map(Message::text)
            .into()
    }

    /// Whether there is a new subscription since this was last called.
    fn has_subscribed(&mut self) -> bool {
        core::mem::take(&mut self.has_subscribed)
    }

    /// Does what is asked for, and answers.
    fn take(&mut self, request: Result<Request, String>) -> Vec<Message> {
        match request {
            Ok(Request::Subscribe { subscriptions }) => {
                subscriptions.iter().filter_map(|wanted| self.subscribe(wanted).err()).map(refusal).collect()
            }
            Ok(Request::Unsubscribe { subscription_ids }) => {
                self.subscriptions.retain(|id, _| !subscription_ids.contains(id));
                Vec::new()
            }
            Ok(Request::GetParameters { parameter_names, id }) => self.values(&parameter_names, id.as_deref()),
            Ok(Request::SetParameters { parameters, id }) => self.set(parameters, id),
            Ok(Request::SubscribeParameterUpdates { parameter_names }) => {
                let known = self.seat.hub().parameters();
                let wanted = known.into_keys().filter(|name| is_named(&parameter_names, name));
                self.followed_parameters.extend(wanted);
                Vec::new()
            }
            Ok(Request::UnsubscribeParameterUpdates { parameter_names }) => {
                self.followed_parameters.retain(|name| !is_named(&parameter_names, name));
                Vec::new()
            }
            Ok(Request::Call(call)) => match self.call(call) {
                Ok(()) => Vec::new(),
                Err(words) => vec![Message::text(protocol::call_failure(call, &words))],
            },
            Err(words) => vec![refusal(words)],
        }
    }

    fn subscribe(&mut self, wanted: &Subscription) -> Result<(), String> {
        let topic = Topic::of_id(wanted.channel_id)
            .ok_or_else(|| format!("there is no channel {}; subscribe to one that is advertised", wanted.channel_id))?;
        if self.subscriptions.contains_key(&wanted.id) {
            return Err(format!("subscription {} is there already; use another number", wanted.id));
        }
        if self.subscriptions.len() >= MAX_KEPT {
            return Err(format!("no more than {MAX_KEPT} subscriptions; end one first"));
        }
        let followed = Followed { samples: self.live().subscribe(topic), sent: 0 };
        self.subscriptions.insert(wanted.id, followed);
        self.has_subscribed = true;
        Ok(())
    }

    /// What is new of all subscriptions.
    fn newest(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        for (id, followed) in &mut self.subscriptions {
            for sample in followed.samples.borrow_and_update().iter() {
                if sample.number > followed.sent && sample.is_current() {
                    messages.push(Message::Binary(protocol::message_data(*id, sample.time_ns, &sample.payload).into()));
                    followed.sent = sample.number;
                }
            }
        }
        messages
    }

    /// The values in force of these parameters; of all where none is named.
    fn values(&self, names: &[String], id: Option<&str>) -> Vec<Message> {
        let known = self.seat.hub().parameters();
        let values =
            known.iter().filter(|(name, _)| is_named(names, name)).map(|(name, value)| (name.as_str(), *value));
        vec![Message::text(protocol::parameter_values(values, id))]
    }

    fn set(&mut self, parameters: Vec<Parameter>, id: Option<String>) -> Vec<Message> {
        let mut messages = Vec::new();
        let names: Vec<String> = parameters.iter().map(|parameter| parameter.name.clone()).collect();
        let mut waits_for = BTreeSet::new();
        if self.wishes.len() >= MAX_KEPT {
            return vec![refusal("too many parameters at once; try again".to_owned())];
        }
        for Parameter { name, value } in parameters {
            match self.wish(&name, value.as_f64()) {
                Ok(()) => drop(waits_for.insert(name)),
                Err(words) => messages.push(refusal(format!("{name}: {words}"))),
            }
        }
        if waits_for.is_empty() {
            if let Some(id) = id {
                messages.extend(self.values(&names, Some(&id)));
            }
        } else {
            self.wishes.push(Wish { id, names, waits_for, since: Instant::now() });
        }
        messages
    }

    fn wish(&self, name: &str, value: Option<f64>) -> Result<(), String> {
        let value = value.ok_or("its value must be a number")?;
        let (category, parameter) = name.split_once('.').ok_or("parameters are named like decision.kp")?;
        let command = parameter_command(category, parameter, value).map_err(|refusal| refusal.reason())?;
        self.command(command).map(drop)
    }

    fn call(&mut self, call: Call) -> Result<(), String> {
        let action = action_of(call).ok_or_else(|| format!("there is no service {}", call.service))?;
        if self.calls.len() >= MAX_KEPT {
            return Err("too many calls at once; try again".to_owned());
        }
        let number = self.command(Command::Action(action))?;
        self.calls.push((call, number, Instant::now()));
        Ok(())
    }

    fn command(&self, command: Command) -> Result<u64, String> {
        if !self.may_command {
            return Err(NEEDS_TOKEN.to_owned());
        }
        self.seat.hub().command(command).map_err(|refusal| refusal.reason())
    }

    /// What the client is to know of an answer of the broker's.
    fn answered(&mut self, answer: &Answer) -> Vec<Message> {
        match answer {
            Answer::Action { number, accepted, delivered, reason } => {
                let mut object = json!({"accepted": accepted, "delivered": delivered});
                if let Some(reason) = reason {
                    object["reason"] = reason.as_str().into();
                }
                let calls = self.calls.extract_if(.., |(_, of, _)| of == number);
                calls.map(|(call, ..)| Message::Binary(protocol::call_answer(call, &object).into())).collect()
            }
            Answer::Parameter { name, refusal: why } => {
                let mut messages = self.updates(Some(name));
                let mut was_asked = false;
                for wish in &mut self.wishes {
                    was_asked |= wish.waits_for.remove(name);
                }
                if let (true, Some(why)) = (was_asked, why) {
                    messages.push(refusal(format!("{name} was refused: {why}")));
                }
                messages.extend(self.end_wishes(|wish| wish.waits_for.is_empty()));
                messages
            }
        }
    }

    /// The values in force of the parameters that the client follows, or of one of them.
    fn updates(&self, only: Option<&str>) -> Vec<Message> {
        let changed = |name: &&String| only.is_none_or(|only| only == name.as_str());
        let names: Vec<String> = self.followed_parameters.iter().filter(changed).cloned().collect();
        if names.is_empty() { Vec::new() } else { self.values(&names, None) }
    }

    /// What waited too long for an answer.
    fn overdue(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        for (call, ..) in self.calls.extract_if(.., |(_, _, since)| since.elapsed() > ANSWER_TIME) {
            let words = "the broker did not answer; whether the vehicle obeys is in /status";
            messages.push(Message::text(protocol::call_failure(call, words)));
        }
        for wish in self.wishes.iter().filter(|wish| wish.since.elapsed() > ANSWER_TIME) {
            let names: Vec<&str> = wish.waits_for.iter().map(String::as_str).collect();
            messages.push(refusal(format!("{}: the broker did not answer", names.join(", "))));
        }
        messages.extend(self.end_wishes(|wish| wish.since.elapsed() > ANSWER_TIME));
        messages
    }

    /// Ends those wishes, with the values in force where the client asked for them.
    fn end_wishes(&mut self, mut ends: impl FnMut(&Wish) -> bool) -> Vec<Message> {
        let ended: Vec<Wish> = self.wishes.extract_if(.., |wish| ends(wish)).collect();
        ended
            .iter()
            .filter(|wish| wish.id.is_some())
            .flat_map(|wish| self.values(&wish.names, wish.id.as_deref()))
            .collect()
    }
}

/// The action that is called.
fn action_of(call: Call) -> Option<&'static str> {
    ACTIONS.get(usize::try_from(call.service).ok()?).copied()
}

/// No names are all names.
fn is_named(names: &[String], name: &str) -> bool {
    names.is_empty() || names.iter().any(|named| named == name)
}

fn refusal(words: String) -> Message {
    Message::text(protocol::error(&words))
}
