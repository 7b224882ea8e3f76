CREATE TABLE IF NOT EXISTS report_datasources (
  id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name varchar(255) NOT NULL,
  connection_url varchar(2000) NOT NULL,
  db_type varchar(50) NOT NULL,
  connection_config json NULL,
  is_active boolean NOT NULL DEFAULT true,
  created_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  created_by varchar(255) NULL,
  updated_by varchar(255) NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
CREATE TABLE IF NOT EXISTS report_configs (
  id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
  report_name varchar(255) NOT NULL,
  report_query longtext NOT NULL,
  output_format enum('csv', 'xlsx', 'json', 'pdf') NOT NULL DEFAULT 'csv',
  datasource_id bigint NOT NULL,
  parameters json NULL,
  timeout_seconds int NOT NULL DEFAULT 300,
  max_rows bigint NULL,
  version int NOT NULL DEFAULT 1,
  is_active boolean NOT NULL DEFAULT true
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
CREATE TABLE IF NOT EXISTS report_schedules (
  id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
  config_id bigint NOT NULL,
  cron_expression varchar(255) NOT NULL,
  timezone varchar(100) NOT NULL DEFAULT 'UTC',
  is_active boolean NOT NULL DEFAULT true,
  last_run_at datetime NULL,
  KEY config (config_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
CREATE TABLE IF NOT EXISTS report_deliveries (
  id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
  config_id bigint NOT NULL,
  delivery_name varchar(255) NOT NULL,
  method enum('email', 'sftp', 'webhook', 's3', 'file_share') NOT NULL,
  delivery_config json NOT NULL,
  max_retry int NOT NULL DEFAULT 3,
  retry_interval_minutes int NOT NULL DEFAULT 5,
  is_active boolean NOT NULL DEFAULT true,
  KEY config (config_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
CREATE TABLE IF NOT EXISTS report_delivery_recipients (
  id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
  delivery_id bigint NOT NULL,
  recipient_type varchar(50) NOT NULL DEFAULT 'to',
  recipient_value varchar(500) NOT NULL,
  is_active boolean NOT NULL DEFAULT true,
  KEY delivery (delivery_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
CREATE TABLE IF NOT EXISTS report_executions (
  id char(36) NOT NULL PRIMARY KEY,
  config_id bigint NOT NULL,
  schedule_id bigint NULL,
  status enum('running', 'completed', 'failed', 'cancelled') NOT NULL,
  started_at datetime(3) NOT NULL,
  completed_at datetime(3) NULL,
  executed_by varchar(255) NULL,
  execution_context json NULL,
  query_execution_time_ms bigint NULL,
  rows_returned bigint NULL,
  file_generated_path varchar(2000) NULL,
  file_size_bytes bigint NULL,
  error_message text NULL,
  KEY config (config_id, started_at),
  KEY schedule (schedule_id, started_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
CREATE TABLE IF NOT EXISTS report_delivery_logs (
  id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
  config_id bigint NOT NULL,
  delivery_id bigint NOT NULL,
  schedule_id bigint NULL,
  execution_id char(36) NOT NULL,
  status enum('pending', 'success', 'failed', 'retry') NOT NULL,
  sent_at datetime(3) NULL,
  completed_at datetime(3) NULL,
  recipient_count int NOT NULL DEFAULT 0,
  success_count int NOT NULL DEFAULT 0,
  failure_count int NOT NULL DEFAULT 0,
  retry_count int NOT NULL DEFAULT 0,
  error_message text NULL,
  delivery_details json NULL,
  file_size_bytes bigint NULL,
  processing_time_ms bigint NULL,
  UNIQUE KEY execution (execution_id, delivery_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
