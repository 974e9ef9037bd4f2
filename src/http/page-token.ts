/**
 * Page tokens as callers see them: each names the list it belongs to, so that a token of another list, or of the same
 * list under other filters, is refused instead of answered with a page that means nothing.
 */
import { hash } from 'node:crypto'
import { AppError } from '../errors.ts'

/** Characters of the mark in front of a token. It is there against slips; what a caller may read is checked elsewhere. */
const markCharacters = 12

/** The token that `token` of the store becomes for callers; `list` says which list it leads through. */
export function sealPageToken(token: string, list: string): string {
  return markOf(token, list) + token
}

/** What `sealPageToken` was given. Throws invalid_page_token for a token that is not of this list, or was changed. */
export function openPageToken(sealed: string, list: string): string {
  const token = sealed.slice(markCharacters)
  if (markOf(token, list) === sealed.slice(0, markCharacters)) return token
  throw new AppError(
    'invalid_page_token',
    'pageToken: take it unchanged from nextPageToken of the page before.',
    {
      faults: [{ pointer: '?pageToken', detail: 'is not a token of this list' }],
    },
  )
}

function markOf(token: string, list: string): string {
  return hash('sha256', `${list}\n${token}`, 'base64url').slice(0, markCharacters)
}
