"""What the invented company is made of: names, places, programs and things. Plain tables, so that the story is easy to change."""

from __future__ import annotations

GIVEN = (
    "Ada", "Akira", "Amara", "Anders", "Anika", "Anton", "Beatriz", "Bilal", "Carla", "Chen", "Chloé", "Daniel", "Daria",
    "Diego", "Dmitri", "Elena", "Emeka", "Emily", "Erik", "Fatima", "Felix", "Grace", "Hana", "Hugo", "Ines", "Ivan",
    "Jack", "Jana", "João", "Jonas", "Julia", "Kavya", "Kenji", "Lara", "Leila", "Liam", "Lucía", "Magnus", "Maja", "Marco",
    "Maria", "Mei", "Mira", "Mohamed", "Nadia", "Nikhil", "Nora", "Oliver", "Olga", "Omar", "Paula", "Pedro", "Priya",
    "Rafael", "Ravi", "Rosa", "Ryo", "Samuel", "Sara", "Sofia", "Søren", "Tariq", "Teresa", "Tom", "Uma", "Vera", "Viktor",
    "Wei", "Yara", "Yusuf", "Zoë",
)  # fmt: skip
FAMILY = (
    "Abe", "Adeyemi", "Almeida", "Andersen", "Bauer", "Becker", "Bianchi", "Brown", "Castillo", "Chandra", "Costa", "Dubois",
    "Eriksson", "Evans", "Ferrari", "Fischer", "Garcia", "Gupta", "Haddad", "Hansen", "Hernandez", "Hoffmann", "Ito", "Iyer",
    "Jansen", "Johnson", "Kaya", "Khan", "Kimura", "Kovač", "Larsen", "Lee", "Lindqvist", "Lopez", "Martins", "Meyer",
    "Mbeki", "Mori", "Müller", "Nakamura", "Nguyen", "Novak", "O'Brien", "Okafor", "Olsen", "Park", "Patel", "Petrov",
    "Popescu", "Rao", "Reyes", "Richter", "Rossi", "Sato", "Schmidt", "Sharma", "Silva", "Singh", "Smith", "Sokolov",
    "Suzuki", "Takahashi", "Tanaka", "Taylor", "Torres", "Vargas", "Virtanen", "Wagner", "Wang", "Weber", "Williams",
    "Wójcik", "Yamamoto", "Yılmaz", "Zhang",
)  # fmt: skip

# Zone, how many of a hundred people live there, and the address under which its office reaches the internet.
OFFICES = (
    ("Europe/Berlin", 26, "203.0.113.10"),
    ("Europe/London", 14, "203.0.113.40"),
    ("America/New_York", 22, "198.51.100.20"),
    ("America/Los_Angeles", 12, "198.51.100.60"),
    ("Asia/Kolkata", 14, "203.0.113.130"),
    ("Asia/Tokyo", 6, "203.0.113.170"),
    ("Australia/Sydney", 6, "198.51.100.140"),
)

_CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{0}.0.0.0 Safari/537.36"
AGENTS = (
    *(f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME.format(version)}" for version in (140, 141, 142)),
    *(f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_CHROME.format(version)}" for version in (141, 142)),
    *(f"Mozilla/5.0 (X11; Linux x86_64; rv:{version}.0) Gecko/20100101 Firefox/{version}.0" for version in (143, 144)),
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME.format(141)} Edg/141.0.0.0",
)
PHONES = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
)

TEAMS = ("Engineering", "Platform", "Support", "Security", "Finance", "Product", "Data")

SERVICES = ("Checkout", "Search", "Login", "Payments", "Invoices", "Mail delivery", "Webhooks", "Mobile API", "Image upload",
            "Reports", "Notifications", "Data import")  # fmt: skip
TROUBLES = ("is slow", "returns errors", "is down in one region", "runs out of memory", "has a growing queue",
            "rejects valid requests", "lost its database connection", "serves stale answers")  # fmt: skip

INTEGRATIONS = ("PagerDuty", "Slack #incidents", "Slack #security", "Jira", "Splunk HEC", "Datadog", "Statuspage",
                "Microsoft Teams", "Generic webhook", "S3 archive")  # fmt: skip
KEYS = (
    "grafana",
    "billing",
    "ci-runner",
    "terraform",
    "data-warehouse",
    "status-page",
    "mobile-backend",
    "support-bot",
)

# The settings that admins change: section, its title, field, values to choose from.
SETTINGS = (
    ("data_retention", "Data Retention", "audit_retention_days", (365, 730, 1095, 2557)),
    ("security", "Security", "session_hours", (8, 12, 24, 336)),
    ("security", "Security", "require_mfa", (True, False)),
    ("security", "Security", "allowed_networks", ("10.0.0.0/8", "10.0.0.0/8, 203.0.113.0/24", "203.0.113.0/24")),
    ("notifications", "Notifications", "digest_hour", (6, 7, 8, 9)),
    ("workspace", "Workspace", "time_zone", ("UTC", "Europe/Berlin", "America/New_York")),
    ("workspace", "Workspace", "name", ("Northwind", "Northwind Operations", "Northwind Ltd")),
    ("incidents", "Incidents", "escalation_minutes", (5, 10, 15, 30)),
)

PAGES = (
    ("audit_log", "Audit Logs"),
    ("users", "Users"),
    ("api_keys", "API Keys"),
    ("data_retention", "Data Retention"),
)
QUERIES = (
    "after:7d",
    "outcome:failure after:24h",
    "action:login.*",
    "is:sensitive after:30d",
    "actor:ada*",
    "outcome:denied",
)
REPOSITORIES = ("checkout", "search", "accounts", "billing", "mobile-api", "web", "infrastructure", "data-pipeline")
TENANTS = ("acme", "globex", "initech", "umbrella")
CUSTOMERS = (
    "Acme GmbH",
    "Globex Corporation",
    "Initech LLC",
    "Umbrella plc",
    "Hooli SA",
    "Stark AB",
    "Wayne BV",
    "Wonka KG",
)
TABLES = ("orders", "customers", "invoices", "sessions", "payments", "shipments", "refunds")
