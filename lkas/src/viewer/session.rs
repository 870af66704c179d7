//! One browser's WebSocket.

use super::{
    hub::Seat,
    requests::{self, MAX_REQUEST, Request},
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

/// Bounds on what a browser sends.
pub(super) fn limits(socket: WebSocketUpgrade) -> WebSocketUpgrade {
    socket.max_message_size(MAX_REQUEST).max_frame_size(MAX_REQUEST)
}

/// Serves one browser until it leaves or the viewer stops.
pub(super) async fn run(mut socket: WebSocket, seat: Seat) {
    let hub = seat.hub();
    let mut frames = hub.frames();
    let mut texts = hub.texts();
    let mut stopped = pin!(hub.stopped());
    let mut heartbeat = interval(HEARTBEAT);
    // When the frame that is under way was sent, and how long the one before took.
    let mut under_way: Option<Instant> = None;
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
                    Ok(Request::Acknowledged { work_ms }) => {
                        if let Some(sent) = under_way.take() {
                            frame_ms = Some((Instant::now(), sent.elapsed().as_millis().saturating_sub(work_ms.into())));
                        }
                        continue;
                    }
                    Ok(Request::Command(command)) => match hub.command(command) {
                        Ok(()) => continue,
                        Err(refusal) => Message::text(refusal.text()),
                    },
                    Err(refusal) => Message::text(refusal.text()),
                },
                // Pings are answered further down; a page sends nothing binary.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            Ok(()) = frames.changed(), if under_way.is_none() => {
                match frames.borrow_and_update().clone() {
                    Some(frame) if frame.received.elapsed() <= MAX_AGE => {
                        under_way = Some(Instant::now());
                        Message::Binary(frame.message)
                    }
                    _ => continue,
                }
            }
            text = texts.recv() => match text {
                Ok(text) => Message::Text(text),
                // The statuses among the lost texts are made good; the rest is outdated anyway.
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
