//! A gate for attempts: the program of a route waits before it until the test has seen and changed what it needs to.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use super::process::Place;

/// A named pipe. A program that opens it for reading waits until it is open for writing too.
#[derive(Debug)]
pub(crate) struct Gate {
    pipe: PathBuf,
}

/// Lets programs through until it is dropped.
#[derive(Debug)]
pub(crate) struct Opened {
    _pipe: File,
}

impl Gate {
    /// A closed one. The place gets one route, `gated`: its program waits before the gate, and then runs this script.
    pub(crate) fn before(script: &str, place: &Place) -> Self {
        let pipe = place.path("gate");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let (script, path) = (format!(r#": < "$1"; {script}"#), pipe.display().to_string());
        let command = ["/bin/sh", "-c", &script, "sh", &path];
        // A list of strings is the same in JSON and TOML.
        let command = serde_json::to_string(&command).unwrap();
        let route = format!("[[routes]]\nname = \"gated\"\nhandler = \"exec\"\ncommand = {command}\n");
        std::fs::write(place.path("hookbox.toml"), route).unwrap();
        Self { pipe }
    }

    /// Lets through the programs that wait, and those that come later.
    #[must_use = "it closes again when this is dropped"]
    pub(crate) fn open(&self) -> Opened {
        // For reading too: opening it for writing alone would wait for a program.
        Opened { _pipe: File::options().read(true).write(true).open(&self.pipe).unwrap() }
    }
}
