//! `engine tokens`: who may ask a service.

use engine_abi::Error;
use engine_server::{Role, Tokens};
use serde_json::json;

use crate::arguments::{Global, RoleWord, Tokens as Command};
use crate::exit::Exit;
use crate::{console, output, places};

pub fn run(global: &Global, command: &Command) -> crate::Result {
    let folder = match places::existing_state(global) {
        Ok(folder) => folder,
        // A service that has never run needs its first token before it does.
        Err(_) if global.state.is_some() => places::state_for(global, &[])?,
        Err(error) => return Err(error.into()),
    };
    if !folder.is_dir() {
        engine_state::create_private_folder(&folder)?;
    }
    let mut tokens = Tokens::read(&folder)?;
    match command {
        Command::Add { name, role } => {
            let role = match role {
                RoleWord::Read => Role::Read,
                RoleWord::Operate => Role::Operate,
            };
            let secret = tokens.add(name, role)?;
            if global.json {
                output::json(&json!({"name": name, "role": role, "token": secret}));
            } else {
                console::line(&secret);
                console::error_line(
                    "It is shown this once. A service that runs takes it with SIGHUP or `POST /api/reload`, or at its next start.",
                );
            }
        }
        Command::List => {
            if global.json {
                for token in tokens.list() {
                    output::json(&json!({"name": token.name, "role": token.role, "created": token.created}));
                }
                return Ok(Exit::Done);
            }
            let rows: Vec<_> = tokens
                .list()
                .iter()
                .map(|token| vec![token.name.clone(), token.role.as_str().to_owned(), token.created.clone()])
                .collect();
            output::list(
                "no tokens: a service can be reached from this machine alone",
                &["NAME", "ROLE", "CREATED"],
                &rows,
            );
        }
        Command::Remove { name } => {
            if !tokens.remove(name)? {
                return Err(Error::config(format!("there is no token of the name `{name}`"))
                    .hint("`engine tokens list` shows those there are")
                    .into());
            }
            if global.json {
                output::json(&json!({"removed": name}));
            } else {
                console::line(&format!(
                    "{name} is removed; a service that runs knows it from SIGHUP or `POST /api/reload` on, or from its next start"
                ));
            }
        }
    }
    Ok(Exit::Done)
}
