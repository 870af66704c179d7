//! A viewer that says what it gets and how its commands fare, line by line, whatever happens to the network.
//!
//! `cargo run -p lkas-zmq --example outage -- HOST`, and an action on each line that is typed; it ends with its input.

use lkas_zmq::{Endpoint, Topic, ViewerClient, ViewerMessage};
use std::io::BufRead;
use std::sync::mpsc::{self, TryRecvError};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1".to_owned());
    let endpoint = Endpoint { host, ..Endpoint::default() };
    let mut viewer = ViewerClient::connect_to(&endpoint, &[Topic::ActionStatus])?;
    let (sender, actions) = mpsc::channel();
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let mut heard = None;
    loop {
        if let Some(ViewerMessage::ActionStatus(status)) = viewer.next(Duration::from_millis(10))? {
            let what = if status.action == "emergency_stop" { "stopped" } else { "accepted" };
            println!("{} {}", if status.accepted { what } else { "answered" }, status.action);
        }
        let silence = viewer.silence();
        if silence.is_some() && silence < heard {
            println!("tick");
        }
        heard = silence.or(heard);
        match actions.try_recv() {
            Ok(action) => {
                if let Err(why) = viewer.send_action(&action.parse()?) {
                    println!("refused {action}: {why}");
                }
            }
            Err(TryRecvError::Empty) => (),
            Err(TryRecvError::Disconnected) => return Ok(()),
        }
    }
}
