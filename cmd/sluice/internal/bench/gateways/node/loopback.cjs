// Keeps a server that names no address on loopback.
const { Server } = require('node:net')
const listen = Server.prototype.listen
Server.prototype.listen = function (first, ...rest) {
	if (typeof first === 'object' && first !== null && first.port !== undefined && !first.host) first = { ...first, host: '127.0.0.1' }
	else if (typeof first === 'number' && typeof rest[0] !== 'string') rest = ['127.0.0.1', ...rest.filter((v) => v !== undefined)]
	return listen.call(this, first, ...rest)
}
