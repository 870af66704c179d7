//! The thread that talks to the broker: ZeroMQ's sockets belong to one thread.

use super::{hub::Hub, requests::Command};
use core::time::Duration;
use lkas_messages::NameError;
use lkas_zmq::{ReceiveError, SendError, Topic, ViewerClient, ViewerMessage};
use serde_json::{Value, json};
use std::{sync::mpsc::Receiver, thread, time::Instant};

/// How long a command may wait for the link to look at it. Messages of the broker wake the link earlier.
const PATIENCE: Duration = Duration::from_millis(10);

/// How long to rest after a fault, so that one that lasts costs nothing.
const REST: Duration = Duration::from_millis(500);

/// How often the round trip to the broker is measured while a browser is there.
const PING_EVERY: Duration = Duration::from_secs(1);

/// Passes messages and commands on until the hub stops. Pictures are asked for only while a browser is there, because
/// the broker makes none that nobody wants.
pub(super) fn run(mut client: ViewerClient, hub: &Hub, commands: &Receiver<Command>) {
    let mut watched = false;
    let mut ping_due = Instant::now();
    while !hub.is_stopping() {
        for command in commands.try_iter() {
            if let Err(reason) = send(&mut client, &command) {
                hub.refuse(&command, &reason);
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
        if let Err(error) = pass_on(&mut client, hub, &mut watched) {
            hub.show_fault(error.to_string());
            thread::sleep(REST);
        }
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
fn pass_on(client: &mut ViewerClient, hub: &Hub, watched: &mut bool) -> Result<(), ReceiveError> {
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
        ViewerMessage::ActionStatus(status) => hub.show(topic, &json!(status)),
        _ => {}
    }
    hub.live().note(&message);
    Ok(())
}
