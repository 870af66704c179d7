//! One browser's WebSocket.

use super::{
    hub::Seat,
    requests::{self, MAX_REQUEST, Refusal, Request},
};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use core::{pin::pin, time::Duration};
use std::time::Instant;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{interval, timeout},
};

/// How often a browser hears of the link, and so that its own connection lives.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How long it is of interest how long a frame took to a browser.
const MEASURED: Duration = Duration::from_secs(2);

/// A browser that takes nothing for this long is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// A frame that has been here for this long is history: the broker fell silent while the browser was busy.
const MAX_AGE: Duration = Duration::from_millis(500);

/// What a program without an origin and without the token is told when it commands.
const NEEDS_TOKEN: &str = "commands need the token that the viewer printed when it started, as \
    \"Authorization: Bearer TOKEN\" in the request for the WebSocket";

/// Bounds on what a browser sends.
pub(super) fn limits(socket: WebSocketUpgrade) -> WebSocketUpgrade {
    socket.max_message_size(MAX_REQUEST).max_frame_size(MAX_REQUEST)
}

/// Serves one browser until it leaves or the viewer stops.
pub(super) async fn run(mut socket: WebSocket, seat: Seat, may_command: bool) {
    let hub = seat.hub();
    let mut frames = hub.frames();
    let mut texts = hub.texts();
    let mut stopped = pin!(hub.stopped());
    let mut heartbeat = interval(HEARTBEAT);
    // Whether a frame is under way: the page has not said yet that it has decoded it.
    let mut under_way = false;
    // A ping follows each frame. What answers it is the browser's network, however busy its page is: so this is the time
    // that the connection took for the frame, and nothing else.
    let mut pings = 0_u64;
    let mut pinged = Instant::now();
    let mut frame_ms = None;
    for text in [hub.hello(), hub.values()] {
        if !send(&mut socket, Message::Text(text)).await {
            return;
        }
    }
    loop {
        let message = tokio::select! {
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => match requests::parse(text.as_str()) {
                    Ok(Request::Acknowledged { .. }) => {
                        under_way = false;
                        continue;
                    }
                    Ok(Request::Command(command)) if !may_command => {
                        Message::text(Refusal::of_command(&command, NEEDS_TOKEN).text())
                    }
                    Ok(Request::Command(command)) => match hub.command(command) {
                        Ok(_) => continue,
                        Err(refusal) => Message::text(refusal.text()),
                    },
                    Err(refusal) => Message::text(refusal.text()),
                },
                Some(Ok(Message::Pong(number))) => {
                    if number[..] == pings.to_le_bytes() {
                        frame_ms = Some((Instant::now(), pinged.elapsed().as_millis()));
                    }
                    continue;
                }
                // Pings are answered further down; a page sends nothing binary.
                Some(Ok(Message::Ping(_) | Message::Binary(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            Ok(()) = frames.changed(), if !under_way => {
                let frame = frames.borrow_and_update().clone();
                match frame {
                    Some(frame) if frame.received.elapsed() <= MAX_AGE => {
                        under_way = true;
                        (pings, pinged) = (pings + 1, Instant::now());
                        if !send(&mut socket, Message::Binary(frame.message)).await {
                            return;
                        }
                        Message::Ping(pings.to_le_bytes().to_vec().into())
                    }
                    _ => continue,
                }
            }
            text = texts.recv() => match text {
                Ok(text) => Message::Text(text),
                // The statuses and events among the lost texts are made good; the rest is outdated anyway.
                Err(RecvError::Lagged(_)) => Message::Text(hub.values()),
                Err(RecvError::Closed) => return,
            },
            _ = heartbeat.tick() => {
                // A time that nothing repeats says nothing about the connection now.
                let recent = frame_ms.filter(|(at, _)| at.elapsed() <= MEASURED);
                Message::Text(hub.link(recent.map(|(_, took)| took)))
            },
            () = &mut stopped => {
                let farewell = CloseFrame { code: close_code::AWAY, reason: "the viewer stops".into() };
                send(&mut socket, Message::Close(Some(farewell))).await;
                return;
            }
        };
        if !send(&mut socket, message).await {
            return;
        }
    }
}

/// Whether the browser took the message.
async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(PATIENCE, socket.send(message)).await, Ok(Ok(())))
}
