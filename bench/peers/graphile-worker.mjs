// The peer with fastify and graphile-worker.
import { Logger, run, runMigrations } from 'graphile-worker'
import pg from 'pg'

import { connectionString, counts, serve, sha256 } from './inbox.mjs'

const logger = new Logger(() => (level, message) => {
  // Without the lines of level info: one for each completed job would cost more than the job.
  if (level === 'error' || level === 'warning') console.error(message)
})
await runMigrations({ connectionString, logger })

// add_jobs() runs five statements. PostgreSQL plans all of them again in each call, because it estimates that
// a generic plan costs more. The estimate is wrong: forcing generic plans doubles the rate. Durability stays
// the same.
const pool = new pg.Pool({
  connectionString,
  max: Number(process.env.POOL_SIZE ?? 20),
  options: '-c plan_cache_mode=force_generic_plan'
})
pool.on('error', console.error)
await pool.query(`
  create table if not exists webhook_keys (
    idempotency_key text primary key,
    id uuid not null default gen_random_uuid(),
    fingerprint text not null,
    accepted_at timestamptz not null default now()
  )`)
const { rows: [{ unfinished }] } = await pool.query('select count(*)::int as unfinished from graphile_worker.jobs')
counts.accepted = unfinished

const runner = await run({
  connectionString,
  logger,
  noHandleSignals: true,
  taskList: {
    webhook () {
      // graphile-worker deletes completed jobs a moment later, in batches, so this count is slightly ahead.
      counts.completed++
    }
  },
  preset: {
    // The settings of the library's page on performance, and delays. Each job sends a notification, and
    // without a delay each notification starts a fetch. With the delays, the rate is a tenth higher.
    // Notifications during a delay are dropped, so the poll interval must be as short as the delay.
    worker: {
      concurrentJobs: 24,
      maxPoolSize: 26,
      pollInterval: 100,
      localQueue: { size: 500, refetchDelay: { durationMs: 100, threshold: 499, maxAbortThreshold: Infinity } },
      completeJobBatchDelay: 100,
      failJobBatchDelay: 100
    }
  }
})

const STORE = {
  name: 'store',
  text: `
    with sent as (
      select * from json_to_recordset($1::json) as sent (idempotency_key text, fingerprint text, job json)
    ), fresh as (
      insert into webhook_keys (idempotency_key, fingerprint)
      select idempotency_key, fingerprint from sent
      on conflict do nothing
      returning idempotency_key, id
    )
    select
      fresh.idempotency_key,
      fresh.id,
      -- Runs once for all rows, because it does not depend on the row.
      (
        select count(*) from graphile_worker.add_jobs(array(
          select json_populate_record(null::graphile_worker.job_spec, sent.job)
          from sent join fresh using (idempotency_key)
        ))
      )
    from fresh`
}

// graphile-worker deletes a completed job together with its job_key. To keep the keys, they are in a table of
// their own. One statement, and so one transaction, stores the keys and adds the jobs with the library's SQL
// function.
async function store (webhooks) {
  const sent = webhooks.map(webhook => ({
    idempotency_key: webhook.idempotency_key,
    fingerprint: sha256(JSON.stringify([webhook.event_type, webhook.payload]), 'base64url'),
    job: { identifier: 'webhook', payload: webhook }
  }))
  const { rows } = await pool.query({ ...STORE, values: [JSON.stringify(sent)] })
  const fresh = new Map(rows.map(row => [row.idempotency_key, row.id]))
  return Promise.all(sent.map(async ({ idempotency_key, fingerprint }) => {
    const id = fresh.get(idempotency_key)
    if (id) return { id, outcome: 'new' }
    const { rows: [kept] } = await pool.query(
      'select id, fingerprint from webhook_keys where idempotency_key = $1', [idempotency_key])
    return { id: kept.id, outcome: kept.fingerprint === fingerprint ? 'duplicate' : 'reused' }
  }))
}

await serve(store, async () => {
  await runner.stop()
  await pool.end()
})
