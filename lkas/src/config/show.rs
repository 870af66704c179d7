//! Every option with its default, as a file.

use super::file::parameters_of;
use super::{SECTIONS, is_flag};
use clap::Arg;
use lkas_messages::names::{Category, Parameter};

/// A file in which every option is commented out and stands there with its default.
#[must_use]
pub fn show() -> String {
    let mut text = "# Options of the lane keeping system: lkas.toml in the current folder, or --config FILE.\n\
                    # They have the names that they have on the command line, which goes over this file.\n"
        .to_owned();
    for section in &SECTIONS {
        text += &format!("\n# {}.\n[{}]\n", section.about, section.name);
        for option in section.options() {
            let help = option.get_help().map(ToString::to_string).unwrap_or_default();
            text += &format!("\n# {help}\n# {} = {}\n", option.get_long().unwrap_or_default(), default(&option));
        }
    }
    text += "\n# A section [mirror] is of the program lkas-mirror, which looks at it itself: see lkas-mirror --help.\n";
    for category in Category::ALL {
        text += &format!("\n# Parameters of the {} server at a start.\n[parameters.{0}]\n", category.name());
        for parameter in parameters_of(category) {
            let Parameter { name, min, max, default, help, .. } = parameter;
            text += &format!("\n# {help}; {min} to {max}\n# {name} = {default}\n");
        }
    }
    text
}

/// An option without a default shows what it stands for.
fn default(option: &Arg) -> String {
    if is_flag(option) {
        return "false".to_owned();
    }
    let quoted = |text: &str| format!("{text:?}");
    match option.get_default_values().first().and_then(|value| value.to_str()) {
        Some(value) if value.parse::<f64>().is_ok() => value.to_owned(),
        Some(value) => quoted(value),
        None => quoted(option.get_value_names().and_then(|names| names.first()).map_or("VALUE", |name| name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::File;
    use std::path::Path;

    #[test]
    fn what_is_shown_is_a_file_whether_its_lines_are_comments_or_not() {
        let shown = show();
        assert_eq!(File::parse(Path::new("shown"), &shown).problems, []);
        let is_option = |line: &&str| line.starts_with("# ") && line.contains(" = ");
        let options: Vec<&str> = shown.lines().filter(is_option).collect();
        assert!(options.len() > 30, "{shown}");
        // Those without a default show a word in capitals.
        let placeholder =
            |line: &str| line.split(" = \"").nth(1).is_some_and(|value| value.starts_with(char::is_uppercase));
        let lines = shown.lines().map(|line| match line.strip_prefix("# ") {
            Some(option) if line.contains(" = ") && !placeholder(line) => option,
            _ => line,
        });
        let filled = lines.collect::<Vec<_>>().join("\n");
        assert!(filled.contains("\nbroker-port = 5557\n") && filled.contains("\nkp = 0.5\n"), "{filled}");
        assert_eq!(File::parse(Path::new("filled"), &filled).problems, []);
    }
}
