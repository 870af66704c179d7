//! The file as it is read, and what is wrong with it.

use super::{SECTIONS, Section, exclude, is_flag, is_supervised};
use crate::Failure;
use crate::detection::DetectorParameters;
use crate::files;
use crate::network::NetworkOptions;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use core::fmt;
use core::ops::Range;
use lkas_messages::names::{Category, PARAMETERS, Parameter};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    path: PathBuf,
    /// Line and column, from 1 on; none where the file itself can't be read.
    place: Option<(usize, usize)>,
    what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}: line {line}, column {column}: ", self.path.display()),
            None => write!(f, "{}: ", self.path.display()),
        }?;
        f.write_str(&self.what)
    }
}

/// A configuration file: what in it makes sense, and what does not.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// Section, key and value of each option.
    options: Vec<(&'static str, String, String)>,
    /// The parameters that it names.
    pub parameters: Vec<(&'static Parameter, f64)>,
    /// Whether it has a section of the program `lkas-mirror`.
    pub has_mirror: bool,
    /// What is wrong, in the order of the lines.
    pub problems: Vec<Problem>,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// It is not there, or can't be read.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        match files::text(path) {
            Ok(text) => Ok(Self::parse(path, &text)),
            Err(why) => Err(Problem { path: path.to_owned(), place: None, what: why.to_string() }),
        }
    }

    /// The same, where a file with anything wrong in it is an error.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read_whole(path: &Path) -> Result<Self, Failure> {
        let file = Self::read(path).map_err(|why| why.to_string())?;
        match file.problems.first() {
            Some(problem) => Err(problem.to_string().into()),
            None => Ok(file),
        }
    }

    pub(super) fn parse(path: &Path, text: &str) -> Self {
        let mut reading = Reading { path, text, file: Self::default() };
        match DeTable::parse(text) {
            Ok(table) => reading.sections(table.get_ref()),
            Err(why) => reading.wrong(why.span().unwrap_or_default(), why.message().to_owned()),
        }
        let mut file = reading.file;
        file.problems.sort_by_key(|problem| problem.place);
        file
    }

    /// What of the file can't count without something else on the command line.
    #[must_use]
    pub fn lacks(&self) -> Option<&'static str> {
        let has =
            |name: &str| self.options.iter().any(|(section, key, _)| (*section, key.as_str()) == ("system", name));
        NetworkOptions::lacks(has("key"), has("broker-key"))
    }

    /// The program `command` with the values of this file as defaults, but for those that `line` excludes.
    #[must_use]
    pub fn under(&self, command: Command, line: &[OsString]) -> Command {
        // A child is told what programs have in common, also that a flag of the file was taken back.
        let counts = |(section, ..): &&(&str, String, String)| *section != "system" || !is_supervised(line);
        let options: Vec<_> = self.options.iter().filter(counts).collect();
        // What is wrong with the line is for whoever parses it.
        let whole = with_defaults(command.clone(), &options, None).ignore_errors(true);
        let given = whole.try_get_matches_from(line).ok();
        with_defaults(command, &options, given.as_ref())
    }
}

/// `command`, a program or one of its subcommands, with these options' values as defaults, but for those that exclude what
/// is `given`.
fn with_defaults(command: Command, options: &[&(&'static str, String, String)], given: Option<&ArgMatches>) -> Command {
    let name = command.get_name().to_owned();
    // A flag that is taken back excludes nothing.
    let is_flag_off = |given: &ArgMatches, id: &str| matches!(given.try_get_one::<bool>(id), Ok(Some(false)));
    let on_line = |given: &ArgMatches, id: &str| {
        given.value_source(id) == Some(ValueSource::CommandLine) && !is_flag_off(given, id)
    };
    let given_here: Vec<&str> =
        given.iter().flat_map(|given| given.ids().map(clap::Id::as_str).filter(|id| on_line(given, id))).collect();
    let mut command = options.iter().fold(command, |command, (section, key, value)| {
        let here = SECTIONS.iter().find(|known| known.name == *section).filter(|section| section.has(&name));
        let option = here.and_then(|section| section.option(key));
        let id = option.map(|option| option.get_id().to_string());
        let is_excluded = |id: &str| given_here.iter().any(|given| exclude(&command, id, given));
        let counts =
            |id: &String| command.get_arguments().any(|option| option.get_id() == id.as_str()) && !is_excluded(id);
        match id.filter(counts) {
            Some(id) => command.mut_arg(id, |option| with_default(option, value)),
            None => command,
        }
    });
    let subcommands: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in subcommands {
        let given = given.and_then(|given| given.subcommand_matches(&name));
        command = command.mut_subcommand(name, |sub| with_defaults(sub, options, given));
    }
    command
}

/// A flag can be taken back on the command line then: `--broadcast=false`.
fn with_default(option: Arg, value: &str) -> Arg {
    let option = option.default_value(value.to_owned());
    if is_flag(&option) {
        return option.action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true");
    }
    option
}

impl Section {
    fn has(&self, command: &str) -> bool {
        self.commands.contains(&command)
    }
}

struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
    file: File,
}

impl Reading<'_> {
    fn wrong(&mut self, span: Range<usize>, what: String) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        self.file.problems.push(Problem { path: self.path.to_owned(), place: Some((line, column)), what });
    }

    fn sections(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            let section = SECTIONS.iter().find(|section| section.name == key.get_ref().as_ref());
            match (section, value.get_ref(), key.get_ref().as_ref()) {
                (Some(section), DeValue::Table(table), _) => self.section(section, table),
                (None, DeValue::Table(table), "parameters") => self.categories(table),
                // Of the program `lkas-mirror`, which looks at it itself.
                (None, DeValue::Table(_), "mirror") => self.file.has_mirror = true,
                (Some(_), ..) | (None, _, "parameters" | "mirror") => {
                    self.wrong(key.span(), format!("{} is a section: [{0}]", key.get_ref()))
                }
                _ => {
                    let known: Vec<_> = SECTIONS.iter().map(|section| format!("[{}]", section.name)).collect();
                    let what = format!("unknown section \"{}\"; there are {} and", key.get_ref(), known.join(", "));
                    self.wrong(key.span(), format!("{what} [parameters.detection], [parameters.decision], [mirror]"));
                }
            }
        }
    }

    fn section(&mut self, section: &'static Section, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let Some(option) = section.option(name) else {
                let options = section.options();
                let known: Vec<_> = options.iter().filter_map(Arg::get_long).collect();
                let known = known.join(", ");
                self.wrong(key.span(), format!("unknown option \"{name}\" in [{}]; there are {known}", section.name));
                continue;
            };
            match text(&option, value).and_then(|text| checked(section, name, text, is_flag(&option))) {
                Ok(text) => self.file.options.push((section.name, name.to_owned(), text)),
                Err(why) => self.wrong(value.span(), why),
            }
        }
        self.contradictions(section, table);
    }

    /// Options that can't stand beside each other.
    fn contradictions(&mut self, section: &Section, table: &DeTable<'_>) {
        let command = section.command();
        let counts = |value: &DeValue<'_>| !matches!(value, DeValue::Boolean(false));
        let mut before: Vec<String> = Vec::new();
        for (key, _) in table.iter().filter(|(_, value)| counts(value.get_ref())) {
            let Some(option) = section.option(key.get_ref()) else { continue };
            let id = option.get_id().to_string();
            if let Some(other) = before.iter().find(|other| exclude(&command, &id, other)) {
                self.wrong(key.span(), format!("{} can't stand beside {other}: one of them has to go", key.get_ref()));
            }
            before.push(id);
        }
    }

    fn categories(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            match (key.get_ref().parse::<Category>(), value.get_ref()) {
                (Ok(category), DeValue::Table(table)) => self.parameters(category, table),
                (Ok(_), _) => self.wrong(key.span(), format!("{} is a section: [parameters.{0}]", key.get_ref())),
                (Err(why), _) => self.wrong(key.span(), why.to_string()),
            }
        }
    }

    fn parameters(&mut self, category: Category, table: &DeTable<'_>) {
        for (key, value) in table {
            let parameter = match Parameter::find(category, key.get_ref()) {
                Ok(parameter) => parameter,
                Err(why) => {
                    self.wrong(key.span(), why.to_string());
                    continue;
                }
            };
            let Parameter { name, min, max, .. } = parameter;
            match number(value.get_ref()).filter(|number| (min..=max).contains(&number)) {
                Some(number) => self.file.parameters.push((parameter, number)),
                None => self.wrong(value.span(), format!("{name} is a number, {min} to {max}")),
            }
        }
        if category == Category::Detection {
            let mut together = DetectorParameters::default();
            for (parameter, number) in &self.file.parameters {
                // Those of other categories are none of it.
                let _ = together.set(parameter.name, *number);
            }
            let wrong = |(parameter, number): &(&'static Parameter, f64)| together.check(parameter.name, *number).err();
            if let Some(why) = self.file.parameters.iter().find_map(wrong) {
                let place = table.keys().next().map(|key| key.span()).unwrap_or_default();
                self.wrong(place, why);
            }
        }
    }
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(number) => number.to_string().parse().ok(),
        DeValue::Float(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// The value as the command line would have it.
fn text(option: &Arg, value: &Spanned<DeValue<'_>>) -> Result<String, String> {
    match value.get_ref() {
        DeValue::Boolean(value) if is_flag(option) => Ok(value.to_string()),
        _ if is_flag(option) => Err("expected true or false".to_owned()),
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        other => Err(format!("expected a text or a number, found {}", other.type_str())),
    }
}

/// The value, if the command line would accept it.
fn checked(section: &Section, key: &str, value: String, is_flag: bool) -> Result<String, String> {
    if is_flag {
        return Ok(value);
    }
    match section.command().try_get_matches_from([format!("--{key}={value}")]) {
        Ok(_) => Ok(value),
        Err(why) => {
            let words = why.to_string();
            let first = words.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
            Err(first.lines().map(str::trim).collect::<Vec<_>>().join(" "))
        }
    }
}

/// Every parameter of a category.
pub(super) fn parameters_of(category: Category) -> impl Iterator<Item = &'static Parameter> {
    PARAMETERS.iter().filter(move |parameter| parameter.category == category)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::DemoOptions;
    use crate::options::SystemOptions;
    use crate::simulation_program::SimulationOptions;
    use clap::{Args, FromArgMatches};

    fn problems(text: &str) -> Vec<String> {
        File::parse(Path::new("lkas.toml"), text).problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_what_is_allowed() {
        let text = "[system]\nnamespace = \"car\"\n  brokr-port = 5557\nbroker-port = 0\n\n[sytem]\n";
        let found = problems(text);
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(
            found[0].starts_with("lkas.toml: line 3, column 3: unknown option \"brokr-port\" in [system]; there are")
        );
        assert!(found[0].contains("broker-port, ") && !found[0].contains("supervised"), "{}", found[0]);
        assert!(
            found[1].starts_with("lkas.toml: line 4, column 15: ") && found[1].contains("1..=65530"),
            "{}",
            found[1]
        );
        assert!(found[2].starts_with("lkas.toml: line 6, column 2: unknown section \"sytem\"; there are [system],"));
    }

    #[test]
    fn values_of_the_wrong_kind_are_said() {
        let text = "[simulation]\nbroadcast = 1\nfps = \"many\"\nwidth = [8]\n[parameters.decision]\nkp = 5\nki = 1\n";
        let found = problems(text);
        let expected =
            ["expected true or false", "1 to 1000", "found array", "kp is a number, 0 to 2", "\"ki\" is not"];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found}: no {expected}");
        }
        let pair = problems("[parameters.detection]\ncanny_low = 150\ncanny_high = 50\n");
        assert_eq!(pair.len(), 1, "{pair:?}");
        assert!(pair[0].contains("canny_high can't be below canny_low, which is 150"), "{pair:?}");
        let found = problems("[system]\nnamespace = \"a/b\"\n[simulation]\nwidth = 0\nheight = 99999999\n");
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found[0].contains("line 2") && found[0].contains("letters, digits"), "{found:#?}");
        assert!(problems("[system\n")[0].starts_with("lkas.toml: line 1, column 8: "), "{:?}", problems("[system\n"));
        assert_eq!(problems("system = 1\n"), ["lkas.toml: line 1, column 1: system is a section: [system]"]);
    }

    #[test]
    fn a_file_stands_under_the_command_line() {
        let text =
            "[simulation]\nfps = 12.5\nbroadcast = true\nwidth = 640\n[viewer]\nport = 9000\n[mirror]\nlisten = []\n";
        let file = File::parse(Path::new("lkas.toml"), text);
        assert_eq!((&file.problems[..], file.has_mirror), (&[][..], true));
        let simulation = |line: &[&str]| {
            let command = SimulationOptions::augment_args(Command::new(line[0].to_owned()));
            let words: Vec<OsString> = line.iter().map(Into::into).collect();
            file.under(command, &words).get_matches_from(words)
        };
        let matches = simulation(&["simulation", "--width", "320"]);
        assert_eq!((matches.get_one("fps"), matches.get_one("width")), (Some(&12.5), Some(&320_u32)));
        assert!(matches.get_flag("broadcast"));
        let matches = simulation(&["simulation", "--broadcast=false"]);
        assert!(!matches.get_flag("broadcast"));
        let matches = simulation(&["other"]);
        assert_eq!(matches.get_one("fps"), Some(&30.0), "options of the same name of another program");
    }

    #[test]
    fn what_is_given_takes_away_what_it_excludes() {
        let text = "[system]\nverbose = true\n[simulation]\nreplay = \"frames\"\nwidth = 640\n";
        let file = File::parse(Path::new("lkas.toml"), text);
        assert_eq!(file.problems, []);
        let demo = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
            let demo = DemoOptions::augment_args(Command::new("demo"));
            let command = SystemOptions::augment_args(Command::new("lkas")).subcommand(demo);
            let matches = file.under(command, &words).get_matches_from(words);
            let system = SystemOptions::from_arg_matches(&matches).unwrap();
            let demo = DemoOptions::from_arg_matches(matches.subcommand_matches("demo").unwrap()).unwrap().simulation;
            let found = (system.log.verbose, system.log.quiet, demo.replay.is_some(), demo.scenario.is_some());
            assert_eq!(demo.width, 640, "{line}");
            found
        };
        assert_eq!(demo("lkas demo"), (true, false, true, false));
        assert_eq!(demo("lkas demo -q --scenario a.toml"), (false, true, false, true));
        assert_eq!(demo("lkas -q demo"), (false, true, true, false));
        // Also behind what is only known with the file under it.
        assert_eq!(demo("lkas demo --verbose=false --scenario a.toml"), (false, false, false, true));
        // A child is told what the one that started it made of that.
        assert_eq!(demo("lkas demo --supervised"), (false, false, true, false));
    }

    #[test]
    fn options_that_need_or_exclude_each_other_are_looked_at_together() {
        let parse = |text: &str| File::parse(Path::new("lkas.toml"), text);
        let both = parse("[system]\nkey = \"me.key_secret\"\nbroker-key = \"broker.key\"\n");
        assert_eq!((both.problems, both.options.len()), (vec![], 2));
        let one = parse("[system]\nkey = \"me.key_secret\"\n");
        assert_eq!((&one.problems[..], one.lacks().is_some()), (&[][..], true), "the other one may be on the line");
        let found = problems("[system]\nverbose = true\nquiet = true\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("verbose can't stand beside quiet"), "{found:?}");
        assert_eq!(problems("[system]\nverbose = true\nquiet = false\n"), [] as [&str; 0]);
        let found = problems("[simulation]\nreplay = \"a\"\nscenario = \"b\"\n");
        assert!(
            found.len() == 1 && found[0].contains("line 3, column 1: scenario can't stand beside replay"),
            "{found:?}"
        );
    }
}
