//! The issue tracker: five tools, one resource and one prompt over a list in memory. What runs after step 10.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    CallToolResult, ContentBlock, ErrorCode, ErrorData, Implementation, ListResourcesResult, PaginatedRequestParams,
    PromptMessage, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource, ResourceContents,
    Role, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{
    RoleServer, ServerHandler, prompt, prompt_handler, prompt_router, schemars, tool, tool_handler, tool_router,
};
use serde::{Deserialize, Serialize};

/// The address of the one resource: every open issue as JSON.
pub const OPEN_ISSUES: &str = "tracker://issues/open";

/// One issue.
#[derive(Debug, Clone, Serialize)]
pub struct Issue {
    /// Its number within the tracker.
    pub number: u64,
    /// The project that it belongs to.
    pub project: String,
    /// One line.
    pub title: String,
    /// Whether work on it is still to be done.
    pub open: bool,
}

/// The tracker. Clones share one list of issues.
#[derive(Debug, Clone)]
pub struct Tracker {
    issues: Arc<Mutex<BTreeMap<u64, Issue>>>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct ProjectName {
    /// The project, such as `site`.
    project: String,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct IssueNumber {
    /// The issue's number.
    number: u64,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct NewIssue {
    /// The project that the issue belongs to.
    project: String,
    /// One line that says what is wrong.
    title: String,
}

impl Default for Tracker {
    fn default() -> Self {
        let first =
            Issue { number: 1, project: "site".to_owned(), title: "The build is broken".to_owned(), open: true };
        Self { issues: Arc::new(Mutex::new(BTreeMap::from([(first.number, first)]))) }
    }
}

impl Tracker {
    /// Every issue, by number.
    pub fn issues(&self) -> Vec<Issue> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Issue>> {
        self.issues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tool_router]
impl Tracker {
    #[tool(description = "Lists the issues of a project", annotations(read_only_hint = true))]
    fn list_issues(&self, Parameters(ProjectName { project }): Parameters<ProjectName>) -> CallToolResult {
        let issues = self.issues();
        let of_project: Vec<_> = issues.iter().filter(|issue| issue.project == project).collect();
        said(&of_project)
    }

    #[tool(description = "Reads one issue", annotations(read_only_hint = true))]
    fn get_issue(&self, Parameters(IssueNumber { number }): Parameters<IssueNumber>) -> CallToolResult {
        match self.lock().get(&number) {
            Some(issue) => said(issue),
            None => no_issue(number),
        }
    }

    #[tool(description = "Opens an issue", annotations(read_only_hint = false, destructive_hint = false))]
    fn create_issue(&self, Parameters(NewIssue { project, title }): Parameters<NewIssue>) -> CallToolResult {
        let mut issues = self.lock();
        let number = issues.keys().next_back().map_or(1, |last| last + 1);
        let issue = Issue { number, project, title, open: true };
        let answer = said(&issue);
        issues.insert(number, issue);
        answer
    }

    #[tool(
        description = "Closes an issue",
        annotations(read_only_hint = false, destructive_hint = false, idempotent_hint = true)
    )]
    fn close_issue(&self, Parameters(IssueNumber { number }): Parameters<IssueNumber>) -> CallToolResult {
        match self.lock().get_mut(&number) {
            Some(issue) => {
                issue.open = false;
                said(issue)
            }
            None => no_issue(number),
        }
    }

    #[tool(
        description = "Deletes a project with all its issues",
        annotations(read_only_hint = false, destructive_hint = true)
    )]
    fn delete_project(&self, Parameters(ProjectName { project }): Parameters<ProjectName>) -> CallToolResult {
        let mut issues = self.lock();
        let before = issues.len();
        issues.retain(|_, issue| issue.project != project);
        said(&serde_json::json!({"deleted_issues": before - issues.len()}))
    }
}

#[prompt_router]
impl Tracker {
    #[prompt(description = "Asks for a plan to work off the issues of a project")]
    async fn triage(&self, Parameters(ProjectName { project }): Parameters<ProjectName>) -> Vec<PromptMessage> {
        vec![PromptMessage::new_text(
            Role::User,
            format!("List the open issues of `{project}` and propose an order to work them off."),
        )]
    }
}

#[tool_handler(router = Self::tool_router())]
#[prompt_handler(router = Self::prompt_router())]
impl ServerHandler for Tracker {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_resources().enable_prompts().build();
        ServerConfig::new(capabilities).with_server_info(Implementation::new("tracker", env!("CARGO_PKG_VERSION")))
    }

    async fn list_resources(
        &self,
        _page: Option<PaginatedRequestParams>,
        _call: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let open_issues = Resource::new(OPEN_ISSUES, "open issues").with_mime_type("application/json");
        Ok(ListResourcesResult::with_all_items(vec![open_issues]))
    }

    async fn read_resource(
        &self,
        wanted: ReadResourceRequestParams,
        _call: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if wanted.uri != OPEN_ISSUES {
            let message = format!("no resource `{}`", wanted.uri);
            return Err(ErrorData::new(ErrorCode::INVALID_PARAMS, message, None));
        }
        let issues = self.issues();
        let open: Vec<_> = issues.iter().filter(|issue| issue.open).collect();
        let contents = ResourceContents::text(json_text(&open), OPEN_ISSUES);
        Ok(ReadResourceResult::new(vec![contents]).into())
    }
}

fn said(value: &impl Serialize) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(json_text(value))])
}

fn no_issue(number: u64) -> CallToolResult {
    let text = format!("no issue {number}: list the issues of a project to see which there are");
    CallToolResult::error(vec![ContentBlock::text(text)])
}

fn json_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| format!("cannot be written as JSON: {error}"))
}
