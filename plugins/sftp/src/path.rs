//! Paths of a server: folders with `/` between them. A relative one begins in the folder of the login.

/// The folder that something is in.
pub fn parent(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) => "/",
        Some((folder, _)) => folder,
        None => ".",
    }
}

/// The last part.
pub fn name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// Something in a folder.
pub fn join(folder: &str, name: &str) -> String {
    match folder {
        "" | "." => name.to_owned(),
        _ if folder.ends_with('/') => format!("{folder}{name}"),
        _ => format!("{folder}/{name}"),
    }
}

/// A folder and all above it, up to the one of the login or the root.
pub fn ancestors(folder: &str) -> impl Iterator<Item = &str> {
    let folder = match folder.trim_end_matches('/') {
        "" if folder.starts_with('/') => "/",
        trimmed => trimmed,
    };
    std::iter::successors(Some(folder).filter(|it| !it.is_empty()), |above| match *above {
        "." | "/" => None,
        above => Some(parent(above)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_and_put_together() {
        for (path, folder, last) in [("a", ".", "a"), ("a/b", "a", "b"), ("/a", "/", "a"), ("/a/b/", "/a", "b")] {
            assert_eq!((parent(path), name(path)), (folder, last), "{path}");
        }
        for (folder, path) in [(".", "n"), ("", "n"), ("a", "a/n"), ("a/", "a/n"), ("/", "/n")] {
            assert_eq!(join(folder, "n"), path);
        }
        assert_eq!(ancestors("/a/b").collect::<Vec<_>>(), ["/a/b", "/a", "/"]);
        assert_eq!(ancestors("a/b/").collect::<Vec<_>>(), ["a/b", "a", "."]);
        assert_eq!(ancestors("/").collect::<Vec<_>>(), ["/"]);
    }
}
