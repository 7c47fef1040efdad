// What both peers share: the two routes that `hookbox bench` uses, and the counts behind the second.
import { hash } from 'node:crypto'

import fastify from 'fastify'
import pg from 'pg'

export const connectionString = process.env.DATABASE_URL
if (!connectionString) throw new Error('set DATABASE_URL, for example postgres://postgres@127.0.0.1/peers')

// Counted in the process, because count(*) over the jobs would slow down what is measured.
// `accepted` begins with the jobs that an earlier run left unfinished.
export const counts = { accepted: 0, completed: 0 }

// What is stored in one transaction: 1, as nearly everyone writes it, or up to so many as wait.
const groupSize = Number(process.env.GROUP ?? 1)

const schema = {
  body: {
    type: 'object',
    required: ['idempotency_key', 'event_type', 'payload'],
    properties: {
      idempotency_key: { type: 'string', minLength: 1, maxLength: 255 },
      event_type: { type: 'string', minLength: 1, maxLength: 255 },
      payload: {}
    }
  },
  // With a schema, fastify compiles the serializer.
  response: {
    '2xx': {
      type: 'object',
      properties: {
        id: { type: 'string' },
        idempotency_key: { type: 'string' },
        event_type: { type: 'string' },
        duplicate: { type: 'boolean' }
      }
    }
  }
}

// `store` takes webhooks with distinct keys, and once they are committed answers { id, outcome } for each, in
// their order; an outcome is 'new', 'duplicate', or 'reused'. `stop` ends the library.
export async function serve (store, stop) {
  await mustBeDurable()
  const app = fastify({ forceCloseConnections: true })
  const storeOne = groupSize > 1 ? grouped(store) : async webhook => (await store([webhook]))[0]

  app.post('/v1/webhooks', { schema }, async (request, reply) => {
    const { idempotency_key, event_type } = request.body
    // Before the commit: a worker can be done with the job before this function goes on.
    counts.accepted++
    let stored
    try {
      stored = await storeOne(request.body)
    } finally {
      if (stored?.outcome !== 'new') counts.accepted--
    }
    if (stored.outcome === 'reused') {
      return reply.code(422).send({ title: 'The idempotency key was used for another webhook', status: 422 })
    }
    const duplicate = stored.outcome === 'duplicate'
    return reply.code(duplicate ? 200 : 202).send({ id: stored.id, idempotency_key, event_type, duplicate })
  })

  app.get('/v1/stats', async () => ({
    counts: {
      // What a worker holds is not told apart.
      pending: counts.accepted - counts.completed,
      processing: 0,
      retrying: 0,
      completed: counts.completed,
      dead_lettered: 0,
      cancelled: 0
    },
    oldest_due_seconds: 0,
    workers: { total: 0, busy: 0 }
  }))

  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, async () => {
      await app.close()
      await stop()
    })
  }
  console.log(`listening on ${await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })}`)
}

export function sha256 (text, encoding) {
  return hash('sha256', text, encoding)
}

// What comes in while a group is being committed goes into the next one.
function grouped (store) {
  let waiting = []
  let busy = false

  async function next () {
    if (busy || waiting.length === 0) return
    busy = true
    const group = new Map()
    const later = []
    for (const one of waiting) {
      const key = one.webhook.idempotency_key
      // A key that is in the group already waits, and is then a duplicate.
      if (group.size < groupSize && !group.has(key)) group.set(key, one)
      else later.push(one)
    }
    waiting = later
    const taken = [...group.values()]
    try {
      const stored = await store(taken.map(one => one.webhook))
      taken.forEach((one, at) => one.resolve(stored[at]))
    } catch {
      // One that PostgreSQL refuses must not take the others with it.
      await Promise.all(taken.map(one => store([one.webhook]).then(([stored]) => one.resolve(stored), one.reject)))
    }
    busy = false
    next()
  }

  return webhook => new Promise((resolve, reject) => {
    waiting.push({ webhook, resolve, reject })
    next()
  })
}

// hookbox answers after a sync; a peer that does not would win for nothing.
async function mustBeDurable () {
  const client = new pg.Client({ connectionString })
  await client.connect()
  const { rows } = await client.query(
    "select name, setting from pg_settings where name in ('fsync', 'synchronous_commit')")
  await client.end()
  for (const { name, setting } of rows) {
    if (setting !== 'on') throw new Error(`${name} is ${setting}; turn it on, or the comparison is not fair`)
  }
}
