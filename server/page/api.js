// The server's API. Who calls gets an answer or an ApiError that says what went wrong and what helps.
import { t } from './i18n.js';

export class ApiError extends Error {
  constructor(status, code, message, remedy) {
    super(message);
    Object.assign(this, { status, code, remedy });
  }
}

let csrf = null;
/** Called when the server no longer knows who this is. */
let onLoggedOut = () => {};
export const whenLoggedOut = (handler) => { onLoggedOut = handler; };

async function request(method, path, body) {
  const headers = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (csrf && method !== 'GET') headers['X-CSRF-Token'] = csrf;
  let answer;
  try {
    answer = await fetch(`/api/v1${path}`, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: 'same-origin', cache: 'no-store',
    });
  } catch {
    throw new ApiError(0, 'unreachable', t('error.unreachable'), t('error.unreachable.remedy'));
  }
  let content = null;
  try {
    content = await answer.json();
  } catch { /* an empty answer, or one that is not ours: the status says enough */ }
  if (!answer.ok) {
    const error = content?.error ?? {};
    if (answer.status === 401 && !path.startsWith('/login')) onLoggedOut();
    throw new ApiError(answer.status, error.code ?? String(answer.status),
                       error.message ?? t('error.status', { status: answer.status }), error.remedy ?? '');
  }
  if (content?.csrf) csrf = content.csrf;
  return content;
}

const id = encodeURIComponent;
const query = (values) => {
  const set = Object.entries(values).filter(([, value]) => value !== '' && value !== null && value !== undefined);
  return set.length ? `?${new URLSearchParams(set)}` : '';
};

export const api = {
  me: () => request('GET', '/me'),
  login: (user, password) => request('POST', '/login', { user, password }),
  loginOnce: (token, user, password) => request('POST', '/login/once', { token, user, password }),
  logout: async () => { await request('POST', '/logout', {}); csrf = null; },

  state: () => request('GET', '/state'),

  map: (mapping) => request('POST', '/mappings', mapping),
  changeMapping: (mapping, change) => request('PATCH', `/mappings/${id(mapping)}`, change),
  unmap: (mapping, reason) => request('DELETE', `/mappings/${id(mapping)}`, { reason }),

  addTill: (till) => request('POST', '/tills', till),
  newToken: (till, reason) => request('POST', `/tills/${id(till)}/token`, { reason }),
  changeTill: (till, change) => request('PATCH', `/tills/${id(till)}`, change),
  revokeTill: (till, reason) => request('POST', `/tills/${id(till)}/revoke`, { reason }),
  removeTill: (till, reason) => request('DELETE', `/tills/${id(till)}`, { reason }),
  approve: (pending, { name, stick, reason }) => request('POST', `/pending/${id(pending)}/approve`, { name, stick, reason }),
  ignore: (pending, reason) => request('POST', `/pending/${id(pending)}/ignore`, { reason }),

  endLease: (lease, blockMinutes, reason) => request('POST', `/leases/${id(lease)}/end`, { block_minutes: blockMinutes, reason }),
  changeStick: (stick, change) => request('PATCH', `/sticks/${id(stick)}`, change),
  block: (stick, minutes, reason) => request('POST', `/sticks/${id(stick)}/block`, { minutes, reason }),
  unblock: (stick, reason) => request('POST', `/sticks/${id(stick)}/unblock`, { reason }),
  accept: (stick, reason) => request('POST', `/sticks/${id(stick)}/accept`, { reason }),
  identify: (stick) => request('POST', `/sticks/${id(stick)}/identify`, { reason: '' }),
  forget: (stick, reason) => request('DELETE', `/sticks/${id(stick)}`, { reason }),
  drain: (on, reason) => request('POST', '/drain', { on, reason }),

  audit: (filter) => request('GET', `/audit${query(filter)}`),
  verifyAudit: () => request('GET', '/audit/verify'),
  exportAddress: (filter) => `/api/v1/audit/export${query(filter)}`,
  captureAddress: (stick) => `/api/v1/capture${query({ stick, payloads: 0 })}`,

  users: () => request('GET', '/users'),
  addUser: (user) => request('POST', '/users', user),
  changeUser: (user, change) => request('PATCH', `/users/${id(user)}`, change),
  removeUser: (user, reason) => request('DELETE', `/users/${id(user)}`, { reason }),
};
