-- The history by server, tool and tenant: each in the order in which it is shown, so that only what is shown is read.
CREATE INDEX approvals_by_server ON approvals (server, id);
CREATE INDEX approvals_by_target ON approvals (json_extract(asked, '$.target'), id);
CREATE INDEX approvals_by_tenant ON approvals (tenant, id);
