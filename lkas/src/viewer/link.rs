//! The thread that talks to the broker: ZeroMQ's sockets belong to one thread.

use super::hub::Hub;
use super::requests::{Asked, Command};
use core::time::Duration;
use lkas_messages::NameError;
use lkas_zmq::wire::EMERGENCY_STOP;
use lkas_zmq::{ReceiveError, SendError, Topic, ViewerClient, ViewerMessage};
use serde_json::{Value, json};
use std::{collections::VecDeque, sync::mpsc::Receiver, thread, time::Instant};

/// How long a command may wait for the link to look at it. Messages of the broker wake the link earlier.
const PATIENCE: Duration = Duration::from_millis(10);

/// How long to rest after a fault, so that one that lasts costs nothing.
const REST: Duration = Duration::from_millis(500);

/// Actions that are remembered until they are answered.
const MAX_UNANSWERED: usize = 64;

/// How often the round trip to the broker is measured while a browser is there.
const PING_EVERY: Duration = Duration::from_secs(1);

/// Passes messages and commands on until the hub stops. Pictures are asked for only while a browser is there, because
/// the broker makes none that nobody wants.
pub(super) fn run(mut client: ViewerClient, hub: &Hub, commands: &Receiver<Asked>) {
    let mut unanswered = Unanswered::default();
    let mut watched = false;
    let mut ping_due = Instant::now();
    while !hub.is_stopping() {
        for asked in commands.try_iter() {
            match send(&mut client, &asked.command) {
                Ok(id) => unanswered.add(id, &asked),
                Err(reason) => hub.refuse(&asked, &reason),
            }
        }
        if watched && ping_due <= Instant::now() {
            ping_due = Instant::now() + PING_EVERY;
            // A socket that fails says so below.
            let _ = client.ping();
            let milliseconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e3);
            hub.show_link(json!({
                "connected": client.is_connected(),
                "silence_ms": milliseconds(client.silence()),
                "round_trip_ms": milliseconds(client.round_trip()),
            }));
        }
        if let Err(error) = pass_on(&mut client, hub, &mut watched, &mut unanswered) {
            hub.show_fault(error.to_string());
            thread::sleep(REST);
        }
    }
}

/// Actions that were sent and not answered, the oldest first: the id of each request, and the command's number.
#[derive(Default)]
struct Unanswered(VecDeque<(String, Asked)>);

impl Unanswered {
    fn add(&mut self, id: String, asked: &Asked) {
        if !matches!(asked.command, Command::Action(_)) {
            return;
        }
        if asked.command == Command::Action(EMERGENCY_STOP) {
            // It is asked for until it is obeyed, under the newest id alone.
            let same = |(_, other): &&mut (String, Asked)| other.command == asked.command;
            self.0.iter_mut().filter(same).for_each(|(before, _)| before.clone_from(&id));
        }
        // The oldest will not be answered any more.
        if self.0.len() >= MAX_UNANSWERED {
            self.0.pop_front();
        }
        self.0.push_back((id, asked.clone()));
    }

    /// The numbers of the commands that are answered under this id.
    fn take(&mut self, id: Option<&Value>) -> Vec<u64> {
        let Some(id) = id.and_then(Value::as_str) else { return Vec::new() };
        let is_answered = |entry: &&(String, Asked)| entry.0 == id;
        let numbers = self.0.iter().filter(is_answered).map(|(_, asked)| asked.number).collect();
        self.0.retain(|entry| !is_answered(&entry));
        numbers
    }
}

fn send(client: &mut ViewerClient, command: &Command) -> Result<String, String> {
    let sent = match command {
        Command::Action(action) => {
            let action = action.parse().map_err(|error: NameError| error.to_string())?;
            client.send_action(&action)
        }
        Command::Parameter { category, name, value } => client.send_parameter(category.as_str(), name.as_str(), *value),
    };
    sent.map_err(|error: SendError| error.to_string())
}

/// Passes at most one message on.
fn pass_on(
    client: &mut ViewerClient,
    hub: &Hub,
    watched: &mut bool,
    unanswered: &mut Unanswered,
) -> Result<(), ReceiveError> {
    if hub.is_watched() != *watched {
        if *watched {
            client.unsubscribe(Topic::Frame)?
        } else {
            client.subscribe(Topic::Frame)?
        }
        *watched = !*watched;
    }
    let Some(message) = client.next(PATIENCE)? else { return Ok(()) };
    let topic = message.topic().name();
    match &message {
        ViewerMessage::Frame { header, jpeg } => {
            hub.show_frame(header.frame_id, header.timestamp, (header.width, header.height), jpeg);
        }
        ViewerMessage::Detection(detection) => {
            let mut data = json!(detection);
            // JavaScript's numbers end at 2^53.
            data["frame_id"] = Value::from(detection.frame_id.to_string());
            hub.show(topic, &data);
        }
        ViewerMessage::State(data) | ViewerMessage::Telemetry(data) | ViewerMessage::Status(data) => {
            hub.show(topic, data);
        }
        ViewerMessage::ParameterStatus(status) => hub.show(topic, &json!(status)),
        ViewerMessage::ActionStatus(status) => {
            hub.show(topic, &json!(status));
            for number in unanswered.take(status.id.as_ref()) {
                hub.answer(number, status);
            }
        }
        _ => {}
    }
    hub.live().note(&message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_is_answered_once_under_its_own_id() {
        let mut unanswered = Unanswered::default();
        let action = |number, name| Asked { number, command: Command::Action(name) };
        for (id, asked) in [("a", action(1, "pause")), ("b", action(2, "pause")), ("c", action(3, EMERGENCY_STOP))] {
            unanswered.add(id.to_owned(), &asked);
        }
        // The first stop is asked for under the second one's id from now on.
        unanswered.add("d".to_owned(), &action(4, EMERGENCY_STOP));
        for (id, numbers) in [("b", vec![2]), ("b", vec![]), ("c", vec![]), ("d", vec![3, 4]), ("a", vec![1])] {
            assert_eq!(unanswered.take(Some(&json!(id))), numbers, "{id}");
        }
        assert!(unanswered.take(None).is_empty());
        for number in 0..2 * MAX_UNANSWERED as u64 {
            unanswered.add("e".to_owned(), &action(number, "pause"));
        }
        assert_eq!(unanswered.take(Some(&json!("e"))).len(), MAX_UNANSWERED);
    }
}
