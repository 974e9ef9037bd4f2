/**
 * Self-signed certificates, made as they are needed: no key lies in the repository, and no program but Node is
 * needed. Just enough of X.509 (RFC 5280 section 4.1) in DER (X.690) for a server's certificate.
 */

import { generateKeyPairSync, sign } from 'node:crypto'

/** A certificate and its key in PEM. */
export type Certificate = { cert: string; key: string }

/** A certificate for one host name, valid around now unless `isExpired`. */
export function makeCertificate({
  name,
  isExpired = false,
}: {
  name: string
  isExpired?: boolean
}): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const validity = sequence(
    utcTime(new Date(Date.now() - 2 * dayMs)),
    utcTime(new Date(Date.now() + (isExpired ? -dayMs : dayMs))),
  )
  const content = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1])),
    ecdsaWithSha256,
    distinguishedName(name),
    validity,
    distinguishedName(name),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(subjectAlternativeName(name))),
  )
  const certificate = sequence(content, ecdsaWithSha256, bitString(sign('sha256', content, privateKey)))
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${certificate.toString('base64')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

const dayMs = 86_400_000

/** 1.2.840.10045.4.3.2 */
const ecdsaWithSha256 = sequence(der(0x06, Buffer.from('2a8648ce3d040302', 'hex')))

/** One relative name with one attribute: commonName, 2.5.4.3. */
function distinguishedName(name: string): Buffer {
  return sequence(der(0x31, sequence(der(0x06, Buffer.from('550403', 'hex')), der(0x0c, Buffer.from(name)))))
}

/** subjectAltName, 2.5.29.17, with one dNSName. */
function subjectAlternativeName(name: string): Buffer {
  const names = sequence(der(0x82, Buffer.from(name)))
  return sequence(der(0x06, Buffer.from('551d11', 'hex')), der(0x04, names))
}

function utcTime(date: Date): Buffer {
  const digits = date.toISOString().replaceAll(/\D/g, '')
  return der(0x17, Buffer.from(`${digits.slice(2, 14)}Z`))
}

function bitString(bytes: Buffer): Buffer {
  return der(0x03, Buffer.concat([Buffer.from([0]), bytes]))
}

function sequence(...parts: Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts))
}

function der(tag: number, content: Buffer): Buffer {
  const length = content.length
  const prefix = length < 128 ? [tag, length] : [tag, 0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.from(prefix), content])
}
