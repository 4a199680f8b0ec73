//! Operations on files.

use std::path::Path;

use super::errors::StepError;
use crate::file;
use crate::op::Op;

pub(super) fn perform(op: &Op) -> Result<(), StepError> {
    match op {
        Op::CreateFile { path, contents, mode, make_dirs } => {
            let path = Path::new(path);
            match file::create_whole(path, contents.as_bytes(), *mode) {
                Err(error) if *make_dirs && error.errno() == Some(libc::ENOENT) => {
                    file::make_parents(path)?;
                    file::create_whole(path, contents.as_bytes(), *mode)?;
                }
                created => created?,
            }
        }
        Op::WriteFile { path, contents, mode } => file::overwrite(Path::new(path), contents.as_bytes(), *mode)?,
        Op::RemoveFile { path, only_if: Some(contents) } => {
            file::remove_if(Path::new(path), contents)?;
        }
        Op::RemoveFile { path, only_if: None } => {
            file::remove(Path::new(path))?;
        }
        _ => {}
    }
    Ok(())
}
