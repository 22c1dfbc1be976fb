//! Step 11: answers in one JSON text, whose head waits until the text is judged.

use holdpoint_core::mcp::answer::Scanner;

use super::governing::Judged;
use super::{Running, Step, warn};
use crate::enforce::HeaderEdit;
use crate::exchange::{HostCommand, Surroundings};
use crate::refusal::Refusal;

impl Running {
    pub(super) fn hold_part(&mut self, bytes: &[u8]) -> Vec<HostCommand> {
        let Step::Holding { body } = &mut self.step else { return vec![HostCommand::Continue] };
        body.extend_from_slice(bytes);
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        if let Some(bytes_max) = self.output.max_bytes.filter(|bytes_max| length > *bytes_max) {
            return vec![self.refuse(&Refusal::AnswerTooLong { bytes_max })];
        }
        let bytes_max = self.governing.answer_bytes_max();
        if body.len() <= bytes_max {
            return vec![HostCommand::Pause];
        }
        let has_known_length = self.observed.head.is_some_and(|head| head.content_length.is_some());
        if self.governing.must_read() || (self.output.max_bytes.is_some() && !has_known_length) {
            let bytes_max = u64::try_from(bytes_max).unwrap_or(u64::MAX);
            return vec![self.refuse(&Refusal::AnswerTooLong { bytes_max })];
        }
        // Too long to wait for: it goes on, and is looked through on its way.
        let mut scanner = Scanner::new();
        if scanner.push(body) {
            let why = "it is too long to be judged and asks something of the client".to_owned();
            return vec![warn(&why), self.refuse(&Refusal::AnswerUnreadable(why))];
        }
        let body = std::mem::take(body);
        if self.governing.reads_outcome {
            self.observed.keep(&body);
        }
        self.observed.pass(&body);
        self.step = Step::Passing { scanner: Some(scanner) };
        vec![HostCommand::Continue]
    }

    pub(super) fn judge_held(&mut self, around: &mut Surroundings<'_>) -> Vec<HostCommand> {
        let Step::Holding { body } = &mut self.step else { return vec![HostCommand::Continue] };
        let body = std::mem::take(body);
        self.observed.is_complete = true;
        if body.is_empty() || !(self.governing.must_read() || Scanner::new().push(&body)) {
            // Only the outcome may have to be told, and the status will do where the text cannot be read.
            if self.governing.reads_outcome {
                self.observed.keep(&body);
            }
            self.observed.deliver(&body);
            self.step = Step::Passing { scanner: None };
            return vec![HostCommand::Continue];
        }
        let judged = self.judge(body, around);
        match judged {
            Judged::Passes => {
                self.step = Step::Passing { scanner: None };
                vec![HostCommand::Continue]
            }
            Judged::Changed(text) => {
                self.step = Step::Passing { scanner: None };
                let length = HeaderEdit::Set("content-length", text.len().to_string());
                vec![HostCommand::EditAnswer(length), HostCommand::ReplaceBody(text), HostCommand::Continue]
            }
            Judged::Dropped(mut commands) => {
                let why = "the server answered with a request that the policy denies".to_owned();
                commands.push(self.refuse(&Refusal::AnswerDenied(why)));
                commands
            }
            Judged::Refused(why) => {
                vec![warn(&why), self.refuse(&Refusal::AnswerDenied(why))]
            }
        }
    }
}
