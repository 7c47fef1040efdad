//! The settings as they were last read, in the form in which `hookbox config` prints them.

use std::sync::{Arc, PoisonError, RwLock};

/// A text of the settings, without anything secret. All clones share it.
#[derive(Clone, Debug)]
pub struct SettingsText(Arc<RwLock<Arc<str>>>);

impl Default for SettingsText {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Arc::from(""))))
    }
}

impl SettingsText {
    /// The text.
    pub fn get(&self) -> Arc<str> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the text by that of settings which were read again. `needs_restart` are the names of those that take
    /// effect only after a restart.
    pub fn replace(&self, read: &Self, needs_restart: &[String]) {
        let text = match needs_restart {
            [] => read.get(),
            names => {
                let names = names.join(", ");
                format!("# Not in force before a restart: {names}\n\n{}", read.get()).into()
            }
        };
        self.set(text);
    }

    pub(super) fn set(&self, text: Arc<str>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_was_read_again_names_what_needs_a_restart() {
        let (shown, read) = (SettingsText::default(), SettingsText::default());
        let page = shown.clone();
        read.set("workers = \"7\"\n".into());
        shown.replace(&read, &[]);
        assert_eq!(&*page.get(), "workers = \"7\"\n");
        shown.replace(&read, &["workers".to_owned(), "lease".to_owned()]);
        assert_eq!(&*page.get(), "# Not in force before a restart: workers, lease\n\nworkers = \"7\"\n");
    }
}
