//! Small tables and JSON files of a run.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::error::Problem;
use crate::files::text;

/// A JSON file, Python's NaN and Infinity read as null.
pub fn json(path: &Path) -> Result<Option<Value>> {
    let Some(text) = text::read(path)? else { return Ok(None) };
    let mut plain = text.clone();
    for number in ["-Infinity", "Infinity", "NaN"] {
        for before in [": ", ":", "[", ", "] {
            plain = plain.replace(&format!("{before}{number}"), &format!("{before}null"));
        }
    }
    let value = serde_json::from_str(&text).or_else(|_| serde_json::from_str(&plain));
    Ok(Some(value.map_err(|error| {
        Problem::new(format!("this is no JSON: {error}")).at(path.display()).fix("make it again")
    })?))
}

/// Rows of `key TAB value`.
pub fn pairs(path: &Path) -> Result<Option<Vec<(String, String)>>> {
    let Some(text) = text::read(path)? else { return Ok(None) };
    let rows = text.lines().filter(|line| !line.trim().is_empty());
    let pairs = rows.map(|line| {
        let (key, value) = line.split_once('\t').ok_or_else(|| {
            Problem::new(format!("a row has no tab: {line:?}")).at(path.display())
        })?;
        Ok((key.to_string(), value.to_string()))
    });
    Ok(Some(pairs.collect::<Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn python_numbers_that_json_lacks_are_null() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        assert_eq!(json(&path).unwrap(), None);
        fs::write(&path, r#"{"a": NaN, "b": [Infinity, -Infinity, 2], "NaN": "NaN"}"#).unwrap();
        let value = json(&path).unwrap().unwrap();
        assert_eq!(value.to_string(), r#"{"a":null,"b":[null,null,2],"NaN":"NaN"}"#);
        fs::write(&path, "{").unwrap();
        assert!(json(&path).unwrap_err().to_string().contains("x.json"));
        fs::write(&path, "a\tb c\n\nd\te\tf").unwrap();
        let rows = pairs(&path).unwrap().unwrap();
        assert_eq!(rows, [("a".into(), "b c".into()), ("d".into(), "e\tf".into())]);
        fs::write(&path, "no tab").unwrap();
        assert!(pairs(&path).unwrap_err().to_string().contains("no tab"));
    }
}
