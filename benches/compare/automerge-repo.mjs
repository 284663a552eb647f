// @automerge/automerge-repo as a sync server, without storage, on any free port. Prints its address.
import { Repo } from '@automerge/automerge-repo'
import { WebSocketServerAdapter } from '@automerge/automerge-repo-network-websocket'
import { WebSocketServer } from 'ws'

const sockets = new WebSocketServer({ port: 0, host: '127.0.0.1' })
new Repo({ network: [new WebSocketServerAdapter(sockets)], sharePolicy: async () => false })
sockets.on('listening', () => console.log(`ws://127.0.0.1:${sockets.address().port}`))
