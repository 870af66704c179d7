//! What does a frame as JPEG cost, by libturbojpeg and by the encoder that is built in?
#![allow(missing_docs)]

use core::hint::black_box;
use lkas::encoding::{Colour, JpegEncoder};
use lkas::simulation::{World, WorldOptions};
use lkas_benches::{Bench, Limit, Rival, pin, processors, rounds, take_turns};

const ROUNDS: usize = 40;
const QUALITY: u8 = 80;

fn main() {
    pin(processors()[0]);
    let mut bench = Bench::new(
        "jpeg",
        "what does a frame as JPEG cost, by libturbojpeg and by the encoder that is built in?",
        "The same rendered frame of 800x600 RGB, quality 80, with colour by halves; both through the broker's own encoder, \
         in turn, in one thread.",
        "Other encoders, other pictures: noise takes longer.",
    );
    let mut world = World::new(WorldOptions::default()).expect("a world");
    let shape = world.shape();
    let (width, height) = (shape.width() as u16, shape.height() as u16);
    assert_eq!((width, height), (800, 600));
    let mut pixels = vec![0; shape.pixel_bytes()];
    world.render(&mut pixels);
    let mut built_in = JpegEncoder::built_in(QUALITY);
    let mut turbo = Some(JpegEncoder::new(QUALITY)).filter(|encoder| encoder.name() != built_in.name());
    let has_turbo = turbo.is_some();
    if !has_turbo {
        println!("LEFT OUT: libturbojpeg, as there is no libturbojpeg.so.0 (Debian: libturbojpeg0)");
    }
    let mut jpegs = [Vec::new(), Vec::new()];
    let [first, second] = &mut jpegs;
    let encode = |encoder: &mut JpegEncoder, jpeg: &mut Vec<u8>| {
        jpeg.clear();
        encoder.encode(black_box(&pixels), width, height, Colour::Rgb, jpeg).expect("a JPEG");
    };
    let mut rivals = Vec::new();
    if let Some(turbo) = &mut turbo {
        rivals.push(Rival::new("libturbojpeg (reference)", |_| encode(turbo, first)).slow());
    }
    rivals.push(Rival::new("built in", |_| encode(&mut built_in, second)).slow());
    let group = take_turns("800x600 to JPEG", rounds(ROUNDS, 2), &mut rivals);
    let ratio = group.row("built in").ratio.unwrap_or(f64::NAN);
    bench.add(group);
    drop(rivals);
    println!("bytes: {} and {}", jpegs[0].len(), jpegs[1].len());
    if has_turbo {
        bench.aim("the encoder that is built in, against libturbojpeg", ratio, Limit::AtMost(3.0));
    }
    bench.save();
}
