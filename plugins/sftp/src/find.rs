//! Files that match a pattern: folders are listed only where the pattern leaves their names open.

use engine_sdk::prelude::{Error, Result};
use glob::{MatchOptions, Pattern as Glob};

use crate::fault::Fault;
use crate::path;
use crate::sftp::Sftp;
use crate::wire::Attributes;

/// As for files of this machine: nothing matches across folders, and a dot in front must be meant.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// One folder of a pattern, or the file at its end.
#[derive(Debug, Clone)]
enum Part {
    /// A name as it is.
    Name(String),
    /// Names that match.
    Names(Glob),
    /// `**`: any number of folders.
    Folders,
}

impl Part {
    fn text(&self) -> String {
        match self {
            Self::Name(name) => Glob::escape(name),
            Self::Names(names) => names.as_str().to_owned(),
            Self::Folders => "**".to_owned(),
        }
    }
}

/// A path with `*`, `?`, `[…]` or `**` in it.
#[derive(Debug)]
pub struct Pattern {
    root: &'static str,
    parts: Vec<Part>,
    whole: Glob,
}

/// Where a path begins.
fn root(path: &str) -> &'static str {
    if path.starts_with('/') { "/" } else { "." }
}

/// Whether a path is a pattern.
pub fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

impl Pattern {
    pub fn new(path: &str) -> Result<Self> {
        let mut parts = Vec::new();
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            parts.push(match part {
                "**" => Part::Folders,
                name if !is_pattern(name) => Part::Name(name.to_owned()),
                names => Part::Names(Glob::new(names).map_err(|error| {
                    Error::config(format!("`{path}` is not a pattern: {}", error.msg))
                        .hint("`**` stands alone between two `/`, and `[` is closed by `]`; `[[]` is a `[`")
                })?),
            });
        }
        // What is below a folder are its files.
        if matches!(parts.last(), Some(Part::Folders)) {
            parts.push(Part::Names(Glob::new("*").expect("this is a pattern")));
        }
        let root = root(path);
        let texts: Vec<_> = parts.iter().map(Part::text).collect();
        let whole = Glob::new(&path::join(root, &texts.join("/"))).expect("each part is one");
        Ok(Self { root, parts, whole })
    }

    /// Whether a file of this path would be found, as far as its text tells.
    pub fn matches(&self, path: &str) -> bool {
        let mut parts = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        self.whole.matches_with(&path::join(root(path), &parts.join("/")), OPTIONS)
    }

    /// The files that match, in the order of their names.
    pub async fn find(&self, sftp: &mut Sftp) -> Result<Vec<(String, Attributes)>, Fault> {
        let mut files = Vec::new();
        let mut open = vec![(self.root.to_owned(), &self.parts[..])];
        while let Some((folder, parts)) = open.pop() {
            let Some((first, rest)) = parts.split_first() else { continue };
            match first {
                Part::Name(name) => {
                    let path = path::join(&folder, name);
                    if !rest.is_empty() {
                        open.push((path, rest));
                    } else if let Some(found) = sftp.look(&path).await?.filter(Attributes::is_file) {
                        files.push((path, found));
                    }
                }
                Part::Names(names) => {
                    for (path, found) in self.names(sftp, &folder, |name| names.matches_with(name, OPTIONS)).await? {
                        let found = match found.is_unclear() {
                            true => sftp.look(&path).await?.unwrap_or_default(),
                            false => found,
                        };
                        if rest.is_empty() && found.is_file() {
                            files.push((path, found));
                        } else if !rest.is_empty() && found.is_folder() {
                            open.push((path, rest));
                        }
                    }
                }
                Part::Folders => {
                    // Links are not followed: they may lead in a circle.
                    let below = self.names(sftp, &folder, |name| !name.starts_with('.')).await?;
                    open.extend(
                        below.into_iter().filter(|(_, found)| found.is_folder()).map(|(path, _)| (path, parts)),
                    );
                    open.push((folder, rest));
                }
            }
        }
        files.sort_by(|(one, _), (other, _)| one.cmp(other));
        // Two `**` find a file more than once.
        files.dedup_by(|(one, _), (other, _)| one == other);
        Ok(files)
    }

    /// The names in a folder that are wanted. A folder that is not there has none.
    async fn names(
        &self,
        sftp: &mut Sftp,
        folder: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, Attributes)>, Fault> {
        let (mut found, mut odd) = (Vec::new(), None);
        sftp.list(folder, |entry| match std::str::from_utf8(&entry.name) {
            // A server is not asked for what it calls by a path.
            Ok(name) if wanted(name) && !name.contains('/') => {
                found.push((path::join(folder, name), entry.attributes));
            }
            Ok(_) => {}
            Err(_) if wanted(&String::from_utf8_lossy(&entry.name)) => {
                odd = Some(String::from_utf8_lossy(&entry.name).into_owned());
            }
            Err(_) => {}
        })
        .await?;
        match odd {
            None => Ok(found),
            Some(name) => Err(Error::config(format!("the name of {} is not UTF-8", path::join(folder, &name)))
                .hint("rename the file, or let the pattern leave it out")
                .into()),
        }
    }
}
