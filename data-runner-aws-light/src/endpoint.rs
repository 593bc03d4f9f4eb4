//! Where services are.

use crate::{Variables, of_process};

/// A service that is called here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Ssm,
    SecretsManager,
    Quotas,
}

impl Service {
    /// Its name in hosts and signatures.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ssm => "ssm",
            Self::SecretsManager => "secretsmanager",
            Self::Quotas => "servicequotas",
        }
    }

    /// What stands before the operation's name in `X-Amz-Target`.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Self::Ssm => "AmazonSSM",
            Self::SecretsManager => "secretsmanager",
            Self::Quotas => "ServiceQuotasV20190624",
        }
    }
}

/// Endpoints that are not AWS's own. The default: none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoints {
    /// For every service.
    pub all: Option<String>,
    /// For Systems Manager.
    pub ssm: Option<String>,
    /// For Secrets Manager.
    pub secrets_manager: Option<String>,
    /// For Service Quotas.
    pub service_quotas: Option<String>,
}

impl Endpoints {
    /// Those of `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_SSM`, `AWS_ENDPOINT_URL_SECRETS_MANAGER` and
    /// `AWS_ENDPOINT_URL_SERVICE_QUOTAS`.
    pub fn from_env() -> Self {
        Self::from_variables(&of_process)
    }

    fn from_variables(variable: Variables<'_>) -> Self {
        Self {
            all: variable("AWS_ENDPOINT_URL"),
            ssm: variable("AWS_ENDPOINT_URL_SSM"),
            secrets_manager: variable("AWS_ENDPOINT_URL_SECRETS_MANAGER"),
            service_quotas: variable("AWS_ENDPOINT_URL_SERVICE_QUOTAS"),
        }
    }

    /// The URL of a service, with a `/` at its end.
    pub(crate) fn url(&self, service: Service, region: &str) -> String {
        let own = match service {
            Service::Ssm => &self.ssm,
            Service::SecretsManager => &self.secrets_manager,
            Service::Quotas => &self.service_quotas,
        };
        match own.as_ref().or(self.all.as_ref()) {
            Some(url) => format!("{}/", url.trim_end_matches('/')),
            None => format!("https://{}.{region}.{}/", service.name(), domain(region)),
        }
    }
}

/// Regions of China have a domain of their own.
fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_own_endpoint_wins_over_the_common_one_and_that_over_aws() {
        let aws = Endpoints::default();
        assert_eq!(aws.url(Service::Ssm, "eu-west-1"), "https://ssm.eu-west-1.amazonaws.com/");
        assert_eq!(aws.url(Service::Ssm, "cn-north-1"), "https://ssm.cn-north-1.amazonaws.com.cn/");
        let moved = Endpoints::from_variables(&|name| match name {
            "AWS_ENDPOINT_URL" => Some("http://mock:1".to_owned()),
            "AWS_ENDPOINT_URL_SECRETS_MANAGER" => Some("http://mock:2/".to_owned()),
            _ => None,
        });
        assert_eq!(moved.url(Service::Ssm, "eu-west-1"), "http://mock:1/");
        assert_eq!(moved.url(Service::SecretsManager, "eu-west-1"), "http://mock:2/");
    }
}
