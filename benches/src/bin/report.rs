//! Makes the report from what the benches left: `report FROM TO` reads FROM/*.json, and TO/system.md where it is there, and
//! writes TO/README.md, TO/figures.json and TO/plots/*.svg.

use lkas_benches::{Bench, Figures, Group, Row, Target, number};
use plotters::prelude::*;
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The benches, in the order of the report.
const BENCHES: [&str; 10] = [
    "publish_take",
    "latency",
    "wake",
    "readers",
    "scale",
    "behaviour",
    "frames",
    "control_loop",
    "instructions",
    "jpeg",
];

/// Why a target is missed, where that is known: how its words start, and the reason.
const REASONS: &[(&str, &str)] = &[
    (
        "publish to one reader, against triple_buffer",
        "triple_buffer exchanges an index blindly: one `xchg`. A channel with several readers has to know which slot \
         each of them holds: it loads each mailbox, works out the new word from the old one and compares-and-swaps it, and \
         which slot is free follows from what it found. That is several times the instructions (see instructions), and all \
         but the header's two stores lie on one chain from the load to the next free slot, which a loop that does nothing \
         else can't hide. With the payload filled and taken, the ratio is less (see \"fill, publish and take\").",
    ),
    (
        "back and forth, one processor",
        "every wait has an end, so the kernel sets a timer before the sleep and cancels it after: the row \"a raw futex \
         with a timeout\" is what that costs. What is above it is the publish, the take, and two readings of the clock.",
    ),
    (
        "every 1ms, one processor",
        "the sleep's timer, as above, and code and data that have grown cold in a millisecond: the publish and the take \
         are in the interval, where the raw futex stores a number.",
    ),
    ("every 20ms", "as for a millisecond, and colder."),
    (
        "128 bytes against a bare flag",
        "the row \"in one of three slots, and taken\" is the limit for a channel whose reader says what it took: what is \
         above it is the header, the reading of the word before the exchange, and that three lines cross instead of two.",
    ),
    (
        "128 bytes against iceoryx2",
        "both send a word and the bytes; what this channel does above that is the reader's exchange.",
    ),
    (
        "1.44 MB copied and sealed",
        "the check value is made at 16 bytes for each cycle, which is what this processor multiplies without carry; half of \
         that time hides behind the copy where the copy waits for memory. Where the copy itself is slow, because a reader \
         on another processor has had the lines, nearly all of it does. `UncheckedImage` has none.",
    ),
    (
        "the encoder that is built in",
        "libturbojpeg does all its stages with the processor's vectors; the encoder that is built in has vectors for colours \
         and the transform, and writes the Huffman codes one after the other. So the library is taken where it is present.",
    ),
    (
        "p99.9 with",
        "a stopped process holds no lock and no line of the cache that the writer would wait for, and all modes start after \
         the same sleep; what is left of the tails is one timing in a thousand, and differs from run to run.",
    ),
];

/// Where a curve bends, and why: how its title starts, and the explanation.
const BENDS: &[(&str, &str)] = &[
    (
        "publish, by reader places",
        "It does not: each place is one load and one exchange of a word in a line of its own, and nothing else grows.",
    ),
    (
        "publish, by polling readers",
        "From one reader to two, and then to eight: a reader that took has the line of its mailbox, and the writer fetches it \
         back from the other processor, one line after the other. Beyond that it flattens here because all readers share one \
         processor: between two publishes only some of them come to look.",
    ),
    (
        "publish with its time and take, channel by channel",
        "The median does not. The tail rises where all channels together outgrow what the processor keeps nearest: some six \
         lines and three pages of memory each, so that a hundred fill the first cache, and a thousand the list of pages.",
    ),
    (
        "channels of 128 bytes, each",
        "With processes, not with channels: in one process ten times as many channels cost up to four times as much, while each \
         further process is woken and put to sleep a thousand times a second, which costs many times what its ten channels do. Who \
         has many channels at one rate keeps them in one process.",
    ),
    (
        "a frame of 1920x1080",
        "Here the curve bends, for memcpy as for the channel: three slots and the frame itself no longer fit into the caches, \
         and a byte costs what memory takes. The larger the frame, the more of the check value's time hides behind that.",
    ),
];

fn main() -> Outcome {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [from, to] = &arguments[..] else { return Err("expected two folders: report FROM TO".into()) };
    let benches =
        BENCHES.iter().map(|name| read(&from.join(name).with_extension("json"))).collect::<Outcome<Vec<_>>>()?;
    std::fs::create_dir_all(to.join("plots"))?;
    std::fs::write(to.join("figures.json"), serde_json::to_string_pretty(&benches)? + "\n")?;
    std::fs::write(to.join("README.md"), text(&benches, to)?)?;
    println!("the report is {}", to.join("README.md").display());
    Ok(())
}

fn read(path: &Path) -> Outcome<Bench> {
    let text = std::fs::read_to_string(path).map_err(|why| format!("{}: {why}; run all benches", path.display()))?;
    Ok(serde_json::from_str(&text).map_err(|why| format!("{}: {why}", path.display()))?)
}

fn text(benches: &[Bench], to: &Path) -> Outcome<String> {
    let mut text = String::from(
        "# Benches\n\n\
         What the channels cost, against rivals and against what is physically there: bare words in shared memory, memcpy, \
         futexes. `cargo verify benches` builds and runs all of it in some minutes and writes this report, its plots and \
         `figures.json`. One question alone: `cargo bench -p lkas-benches --features rivals --bench latency`. Without the \
         feature only the limits are there, and nothing foreign is built.\n\n",
    );
    let machine = &benches[0].machine;
    writeln!(text, "- **Machine**: {}; {} processors; {}.", machine.processor, machine.processors, machine.kernel)?;
    writeln!(text, "- **Build**: {}, the workspace's release profile, the same for all rivals.", machine.compiler)?;
    text += "- **Processors**: each process is kept on one.\n\
             - **Figures**: p50, p99, p99.9 from a histogram of three digits (HDR), and the largest sample.\n\
             - **Ratios**: rivals take turns, round by round, in one run; a ratio is taken in each round, to the row called \
             reference, and their median is shown. A machine that is slow for a while is slow for all.\n\
             - **Near and far**: where a hypervisor moves the two processors, ratios are given for rounds in which they \
             were near to each other and far apart, told by a bare word that is sent before each measurement.\n\n";
    if benches.iter().any(|bench| bench.short) {
        text += "**This is the short form, with too few rounds to believe a figure.**\n\n";
    }
    targets(&mut text, benches)?;
    for bench in benches {
        chapter(&mut text, bench, &to.join("plots"))?;
    }
    // Measured apart, with what needs more than Rust.
    if let Ok(system) = std::fs::read_to_string(to.join("system.md")) {
        text += "\n";
        text += &system;
    }
    Ok(text)
}

fn targets(text: &mut String, benches: &[Bench]) -> Outcome {
    *text += "## What was aimed at\n\n| | found | aimed at | |\n|---|---:|---:|---|\n";
    let all = || benches.iter().flat_map(|bench| bench.targets.iter().map(move |target| (bench, target)));
    for (bench, target) in all() {
        let verdict = if target.is_met() { "met" } else { "**missed**" };
        writeln!(
            text,
            "| {}: {} | {} | {} | {verdict} |",
            bench.name,
            target.what,
            number(target.found),
            target.limit
        )?;
    }
    let missed: Vec<&Target> = all().map(|(_, target)| target).filter(|target| !target.is_met()).collect();
    if !missed.is_empty() {
        *text += "\nWhy what was missed was missed:\n\n";
    }
    for target in missed {
        let reason = REASONS.iter().find(|reason| target.what.starts_with(reason.0));
        writeln!(text, "- *{}*: {}", target.what, reason.map_or("not known.", |reason| reason.1))?;
    }
    Ok(())
}

fn chapter(text: &mut String, bench: &Bench, plots: &Path) -> Outcome {
    let mut question = bench.question.clone();
    question[..1].make_ascii_uppercase();
    writeln!(text, "\n## {}\n\n**{question}**\n\n{}\n\n*Not shown*: {}", bench.name, bench.method, bench.unseen)?;
    for (index, group) in bench.groups.iter().enumerate() {
        writeln!(text, "\n### {}\n", group.title)?;
        table(text, group)?;
        let rows = group.rows.iter().filter(|row| row.figures.is_some()).count();
        if rows > 1 {
            let name = format!("{}-{index}.svg", bench.name);
            plot(group, &plots.join(&name)).map_err(|why| format!("{name}: {why}"))?;
            writeln!(text, "\n![{}](plots/{name})", group.title)?;
        }
        for (_, bend) in BENDS.iter().filter(|(title, _)| group.title.starts_with(title)) {
            writeln!(text, "\n*Where it bends*: {bend}")?;
        }
    }
    Ok(())
}

fn table(text: &mut String, group: &Group) -> Outcome {
    if group.rows.iter().all(|row| row.figures.is_none()) {
        writeln!(text, "| | {} |\n|---|---:|", group.unit)?;
        for row in &group.rows {
            writeln!(text, "| {} | {} |", row.name, number(row.value.unwrap_or(f64::NAN)))?;
        }
        return Ok(());
    }
    let places = group.rows.iter().any(|row| row.far.is_some()) && group.rows.iter().any(|row| row.near.is_some());
    *text += "| | p50 | p99 | p99.9 | largest | samples | ratio |";
    *text += if places {
        " near | far |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    } else {
        "\n|---|---:|---:|---:|---:|---:|---:|\n"
    };
    for row in &group.rows {
        let Some(Figures { p50, p99, p99_9, max, samples }) = row.figures else { continue };
        let [p50, p99, p99_9, max] = [p50, p99, p99_9, max].map(time);
        // Of fewer samples it would be the largest, by another name.
        let p99_9 = if samples < 1000 { "–".into() } else { p99_9 };
        let name = if is_ours(row) { format!("**{}**", row.name) } else { row.name.clone() };
        write!(text, "| {name} | {p50} | {p99} | {p99_9} | {max} | {samples} |")?;
        let ratios = if places { vec![row.ratio, row.near, row.far] } else { vec![row.ratio] };
        for ratio in ratios {
            write!(text, " {} |", ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")))?;
        }
        text.push('\n');
    }
    Ok(())
}

fn is_ours(row: &Row) -> bool {
    row.name.contains("this channel")
}

/// Nanoseconds, for people.
fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 10.0 => format!("{ns:.1} ns"),
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e4 => format!("{:.1} µs", ns / 1e3),
        ns if ns < 1e6 => format!("{:.0} µs", ns / 1e3),
        ns if ns < 1e7 => format!("{:.1} ms", ns / 1e6),
        ns => format!("{:.0} ms", ns / 1e6),
    }
}

/// From p50 to p99.9 of each row, on a logarithmic scale.
fn plot(group: &Group, path: &Path) -> Outcome {
    const LINE: i32 = 26;
    const LEFT: i32 = 300;
    const WIDTH: i32 = 860;
    let rows: Vec<(&Row, Figures)> = group.rows.iter().filter_map(|row| Some((row, row.figures?))).collect();
    let height = LINE * rows.len() as i32 + 60;
    let root = SVGBackend::new(path, (WIDTH as u32, height as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    // A clock's steps can make a zero, which has no logarithm.
    let low = rows.iter().map(|(_, figures)| figures.p50.max(0.1)).fold(f64::INFINITY, f64::min).log10().floor();
    let high = rows.iter().map(|(_, figures)| figures.p99_9.max(0.1)).fold(0.1, f64::max).log10().ceil().max(low + 1.0);
    let scale = f64::from(WIDTH - LEFT - 40) / (high - low);
    let at = |value: f64| LEFT + ((value.max(0.1).log10() - low) * scale) as i32;
    let small = ("sans-serif", 12).into_font().color(&BLACK.mix(0.6));
    for power in low as i32..=high as i32 {
        let x = at(10_f64.powi(power));
        root.draw(&PathElement::new([(x, 10), (x, height - 45)], BLACK.mix(0.15)))?;
        root.draw(&Text::new(time(10_f64.powi(power)).replace(".0 ", " "), (x - 14, height - 40), small.clone()))?;
    }
    for (index, (row, figures)) in rows.iter().enumerate() {
        let y = 20 + LINE * index as i32;
        let color = if is_ours(row) { RGBColor(0, 90, 200) } else { RGBColor(110, 110, 110) };
        root.draw(&Text::new(row.name.clone(), (8, y - 6), ("sans-serif", 13).into_font().color(&color)))?;
        root.draw(&PathElement::new([(at(figures.p50), y), (at(figures.p99_9), y)], color.stroke_width(2)))?;
        root.draw(&Circle::new((at(figures.p50), y), 5, color.filled()))?;
        for end in [figures.p99, figures.p99_9] {
            root.draw(&PathElement::new([(at(end), y - 5), (at(end), y + 5)], color.stroke_width(2)))?;
        }
    }
    root.draw(&Text::new("dot: p50; marks: p99 and p99.9", (8, height - 18), small))?;
    root.present()?;
    Ok(())
}
