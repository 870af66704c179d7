//! The parameters in the file: written anew, with everything else left as it is.

use super::File;
use crate::Failure;
use crate::files;
use lkas_messages::names::Parameter;
use std::fs;
use std::path::Path;

/// Writes these parameters, each with its category and name, into the file: its sections of their categories are replaced,
/// what else stands there stays. A file that is not there is made.
///
/// # Errors
/// The file is there and can't be read or makes no sense, or it can't be written.
pub fn save(path: &Path, parameters: &[(String, String, f64)]) -> Result<(), Failure> {
    let named = |why: &dyn core::fmt::Display| Failure::from(format!("{}: {why}", path.display()));
    let known = match fs::metadata(path) {
        Ok(known) if !known.is_file() => return Err(named(&"it is no file that options could be kept in")),
        Ok(known) => Some(known.permissions()),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => None,
        Err(why) => return Err(named(&why)),
    };
    // Of a link, what it leads to is written.
    let path = &if known.is_some() { path.canonicalize()? } else { path.to_owned() };
    let before = if known.is_some() { files::text(path).map_err(|why| named(&why))? } else { String::new() };
    let old = File::parse(path, &before);
    if let Some(problem) = old.problems.first() {
        return Err(format!("{problem}; nothing was written").into());
    }
    let stays = |known: &Parameter| parameters.iter().all(|(category, ..)| category != known.category.name());
    let expected = parameters.len() + old.parameters.iter().filter(|(known, _)| stays(known)).count();
    let text = replaced(&before, parameters);
    let after = File::parse(path, &text);
    if after.parameters.len() != expected || !after.problems.is_empty() {
        let why =
            after.problems.first().map_or_else(|| "it has parameters in another form".to_owned(), ToString::to_string);
        return Err(format!("{}: can't be written to: {why}", path.display()).into());
    }
    // A whole file or the one before: a configuration that is cut off would be one.
    let beside = path.with_extension("toml.new");
    fs::write(&beside, text)
        .and_then(|()| known.map_or(Ok(()), |known| fs::set_permissions(&beside, known)))
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|why| named(&why))
}

fn replaced(before: &str, parameters: &[(String, String, f64)]) -> String {
    let mut text = String::new();
    let mut own = false;
    for line in before.split_inclusive('\n') {
        if let Some(header) = line.trim_start().strip_prefix('[') {
            let name = header.split(']').next().unwrap_or_default().trim();
            let is = |category: &str| name.strip_prefix("parameters.") == Some(category);
            own = name == "parameters" || parameters.iter().any(|(category, ..)| is(category));
        }
        if !own {
            text += line;
        }
    }
    text.truncate(text.trim_end().len());
    let mut section = None;
    for (category, name, value) in parameters {
        if section != Some(category) {
            let gap = if text.is_empty() {
                ""
            } else if section.is_none() || !text.ends_with('\n') {
                "\n\n"
            } else {
                "\n"
            };
            text += &format!("{gap}[parameters.{category}]\n");
            section = Some(category);
        }
        text += &format!("{name} = {value}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(kp: f64) -> Vec<(String, String, f64)> {
        let of = |category: &str, name: &str, value| (category.to_owned(), name.to_owned(), value);
        vec![of("detection", "canny_low", 40.0), of("decision", "kp", kp), of("decision", "kd", 0.1)]
    }

    #[test]
    fn parameters_are_replaced_and_everything_else_stays() {
        let before = "# mine\n[parameters.decision]\nkp = 0.1 # old\n\n[system]\n# why\nnamespace = \"car\"\n";
        let after = replaced(before, &values(0.7));
        let expected = "# mine\n[system]\n# why\nnamespace = \"car\"\n\n[parameters.detection]\ncanny_low = 40\n\n\
                        [parameters.decision]\nkp = 0.7\nkd = 0.1\n";
        assert_eq!(after, expected);
        assert_eq!(replaced(&after, &values(0.7)), after, "again");
        assert_eq!(replaced("", &values(0.7)).lines().next(), Some("[parameters.detection]"));
    }

    #[test]
    fn what_the_file_has_for_a_server_that_says_nothing_stays() {
        let path = std::env::temp_dir().join(format!("lkas-save-one-{}.toml", std::process::id()));
        fs::write(&path, "[parameters.decision]\n# mine\nkp = 0.9\n[parameters.detection]\ncanny_low = 30\n").unwrap();
        save(&path, &values(0.7)[..1]).unwrap();
        let expected = "[parameters.decision]\n# mine\nkp = 0.9\n\n[parameters.detection]\ncanny_low = 40\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        // In another form it can't be told from what is to be replaced.
        let dotted = "[parameters]\ndecision.kp = 0.9\n";
        fs::write(&path, dotted).unwrap();
        let why = save(&path, &values(0.7)[..1]).unwrap_err().to_string();
        assert!(why.contains("parameters in another form"), "{why}");
        assert_eq!(fs::read_to_string(&path).unwrap(), dotted);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_link_stays_a_link_and_a_file_keeps_its_mode() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = std::env::temp_dir().join(format!("lkas-save-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let (file, link) = (folder.join("real.toml"), folder.join("link.toml"));
        fs::write(&file, "# mine\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&file, &link).unwrap();
        save(&link, &values(0.7)).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&file).unwrap().starts_with("# mine\n\n[parameters.detection]"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let why = save(&folder, &values(0.7)).unwrap_err().to_string();
        assert!(why.contains("no file that options could be kept in"), "{why}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_makes_no_sense_is_left_alone() {
        let path = std::env::temp_dir().join(format!("lkas-save-{}.toml", std::process::id()));
        save(&path, &values(0.7)).unwrap();
        assert_eq!(File::read(&path).unwrap().parameters.len(), 3);
        std::fs::write(&path, "[sytem]\n").unwrap();
        assert!(save(&path, &values(0.7)).unwrap_err().to_string().contains("nothing was written"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[sytem]\n");
        std::fs::remove_file(path).unwrap();
    }
}
