-- KumoMTA as perf/run starts it: a relay to one host. What differs between runs comes by the environment.
local kumo = require 'kumo'

local base = os.getenv 'PERF_BASE'
local signs = os.getenv 'PERF_KEY'
local synced = os.getenv 'PERF_SYNC' == '1'

kumo.on('init', function()
  kumo.configure_accounting_db_path(base .. '/accounting.db')
  for _, name in ipairs { 'data', 'meta' } do
    kumo.define_spool { name = name, path = base .. '/spool/' .. name, kind = 'RocksDB' }
  end
  -- Logging is on, as it is in the engine and in Postfix.
  kumo.configure_local_logs { log_dir = base .. '/logs', max_segment_duration = '1 minute' }
  kumo.start_esmtp_listener {
    listen = '127.0.0.1:' .. os.getenv 'PERF_PORT',
    hostname = 'mta.perf.test',
    relay_hosts = { '127.0.0.0/8' },
    max_connections = 20000,
    max_messages_per_connection = 1000000,
  }
  kumo.start_http_listener { listen = '127.0.0.1:' .. os.getenv 'PERF_HTTP', trusted_hosts = { '127.0.0.1' } }
end)

kumo.on('smtp_server_message_received', function(message)
  if synced then
    -- One sync for this message before the 250. The spool's own `flush` does not sync with RocksDB.
    message:set_force_sync(true)
  end
  if signs then
    message:dkim_sign(kumo.dkim.rsa_sha256_signer {
      domain = 'perf.test',
      selector = 's1',
      headers = { 'From', 'To', 'Subject', 'Date', 'Message-ID', 'MIME-Version', 'Content-Type' },
      key = signs,
    })
  end
end)

kumo.on('get_queue_config', function()
  return kumo.make_queue_config {
    protocol = { smtp = { mx_list = { { name = 'sink.perf.test', addr = '127.0.0.1:' .. os.getenv 'PERF_SINK' } } } },
  }
end)

-- In its favour: room for the whole backlog in the ready queue, connections that are kept, lazy wake-ups.
kumo.on('get_egress_path_config', function()
  return kumo.make_egress_path {
    connection_limit = tonumber(os.getenv 'PERF_CONNECTIONS'),
    max_deliveries_per_connection = 1000000,
    max_ready = 2000000,
    enable_tls = os.getenv 'PERF_TLS',
    enable_mta_sts = false,
    enable_dane = false,
    prohibited_hosts = {},
    refresh_strategy = 'Epoch',
    dispatcher_wakeup_strategy = 'Relaxed',
    maintainer_wakeup_strategy = 'Relaxed',
    ehlo_domain = 'mta.perf.test',
  }
end)
