//! The approval service as its operator runs it: what must outlive a crash does.

use holdpoint_tests::service::Service;

#[tokio::test]
async fn killed_service_comes_back_with_its_key_and_its_tokens() -> anyhow::Result<()> {
    let mut service = Service::start().await?;
    let key = service.service_key()?;
    let token = service.token("approver", "alice", &["sre"])?;
    let http = reqwest::Client::new();
    let list = || http.get(service.url("/v1/approvals")).bearer_auth(&token).send();

    assert_eq!(list().await?.status(), 200);
    service.kill();
    assert!(list().await.is_err());
    service.restart().await?;

    assert_eq!(service.service_key()?, key);
    let after = http.get(service.url("/v1/approvals")).bearer_auth(&token).send().await?;
    assert_eq!(after.status(), 200);
    let stranger = http.get(service.url("/v1/approvals")).bearer_auth("no-such-token").send().await?;
    assert_eq!(stranger.status(), 401);
    Ok(())
}
