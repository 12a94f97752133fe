// The page in English. texts_de.js has the same keys; a text with several forms depends on its number n.
export const en = {
  // the page
  brand: 'tillbridge, to the overview', views: 'Views', 'view.overview': 'Overview', 'view.audit': 'Audit', 'view.users': 'Users', skip: 'Skip to the content',
  language: 'Language', theme: 'Appearance', 'theme.system': 'As the system', 'theme.light': 'Light', 'theme.dark': 'Dark',
  account: 'Account {user}', 'account.who': '{user}, {role}', logout: 'Log out', loading: 'Loading…', close: 'Close', cancel: 'Cancel', save: 'Save', saved: 'Saved', done: 'Done', undo: 'Undo',
  copy: 'Copy', copied: 'Copied', reason: 'Reason (goes into the audit log)', 'reason.hint': 'Why you do this, for whoever reads the log later.', minutes: { one: '{n} minute', other: '{n} minutes' },
  search: 'Find a stick, till, serial number', filter: 'Show', 'filter.clear': 'Show all', 'filter.all': 'All', 'filter.need': 'Faulty', 'filter.in_use': 'In use', 'filter.free': 'Free', 'filter.unmapped': 'Not mapped', 'filter.absent': 'Unplugged',
  'menu.of': 'Actions for {name}', fold: 'Fold {name}', unfold: 'Unfold {name}', rail: 'Tills and events',
  'connection.connecting': 'Connecting', 'connection.live': 'Live', 'connection.lost': 'Connection lost', 'connection.connecting.more': 'Asking the server how things are.', 'connection.live.more': 'What you see is how things are now.',
  'connection.lost.title': 'Connection to the server lost.', 'connection.lost.more': 'What you see may be old. The tills do not need this page; it comes back by itself.', 'connection.as_of': 'as of {time}', 'connection.back': 'The connection is back.',
  'error.unreachable': 'The server does not answer.', 'error.unreachable.remedy': 'Check that this computer reaches it; then try again.', 'error.status': 'The server answered with error {status}.',

  // the line at the top
  'headline.need': { one: 'One thing needs you', other: '{n} things need you' }, 'headline.first': 'Welcome. Let us give your first till its stick.', 'headline.drain': 'Maintenance: no till gets a stick now',
  'headline.quiet': 'No till is connected right now', 'headline.quiet.more': { one: '{n} till is set up', other: '{n} tills are set up' },
  'headline.some': '{n} of {all} connected tills have their stick', 'headline.good': { one: 'Your till has its stick', other: 'All {n} tills have their stick' }, 'headline.good.here': { one: 'The connected till has its stick', other: 'All {n} connected tills have their stick' },
  'headline.good.away': { one: '{n} till is not there', other: '{n} tills are not there' }, 'headline.sticks': '{n} of {all} sticks in use', 'headline.worst': 'slowest p99 {time}',
  needs: 'What needs you', 'need.show': 'Show stick', 'need.pending': '{till} wants to join', 'need.stick.refused': '{stick} is refused', 'need.stick.problem': '{stick} has a problem',
  'need.till.unmapped': '{till} is connected, but has no stick', 'need.till.unmapped.remedy': 'Map a stick to it: drag the till onto a stick, or choose “Map”.',
  'need.till.without': '{till} is connected, but does not have its stick',
  'need.till.absent': 'Its stick {stick} is not plugged in.', 'need.till.absent.remedy': 'Plug the stick into the USB server.', 'need.till.taken': 'Its stick {stick} is used by {other}.', 'need.till.taken.remedy': 'End that use, or map another stick to this till.',
  'need.till.draining': 'Maintenance is on: no till gets a stick.', 'need.till.draining.remedy': 'End maintenance.', 'need.till.conditions': 'An admin took its stick {stick} from the session, or the stick is for another user or terminal server only.', 'need.till.conditions.remedy': 'Give it back, or change the conditions of its mapping.',

  // first steps
  'first.title': 'First steps', 'first.done': 'done', 'first.stick': 'Plug in a stick', 'first.stick.more': 'Any TSE stick at this USB server shows up here by itself.',
  'first.till': 'Add a till', 'first.till.more': 'You get one line to run on the till. It is good for 15 minutes.', 'first.map': 'Map the stick to the till', 'first.map.more': 'Drag the till onto the stick, or choose “Map”. You can also do this while you add the till.',
  'first.session': 'Start a session on the till', 'first.session.more': 'The stick appears in it as if it were plugged in there.',

  // sticks
  sticks: 'Sticks', stick: 'Stick', 'sticks.count': { one: '{n} stick plugged in', other: '{n} sticks plugged in' }, 'sticks.empty': 'No stick is plugged in yet', 'sticks.empty.more': 'Plug a TSE into this USB server. It shows up here by itself; nothing needs to be installed.', 'sticks.none_fits': 'No stick fits what you look for.',
  'tree.label': 'Site, server, sticks, tills and sessions', 'tree.help': 'Arrow keys move and unfold, M maps, Shift+F10 opens the actions.', 'tree.help.viewer': 'Arrow keys move and unfold.', 'site.here': 'This site',
  'column.stick': 'Stick', 'column.state': 'State', 'column.till': 'Till', 'column.session': 'Session', 'column.latency': 'Latency p50, p99', 'column.traffic': 'Traffic', 'column.fold': 'Unfold', 'column.menu': 'Actions',
  'stick.in_use': 'In use', 'stick.waiting': 'Waiting', 'stick.offered': 'Offered', 'stick.free': 'Free', 'stick.unmapped': 'Not mapped', 'stick.refused': 'Refused', 'stick.blocked': 'Blocked', 'stick.absent': 'Unplugged',
  'situation.waiting': 'gone for {age}, waiting for it', 'situation.since': 'since {time}', 'situation.blocked': 'until {time}', 'situation.absent': 'last seen {time}', 'situation.never': 'never plugged in', 'situation.free': 'its till is not there', 'situation.offered': 'the till is about to take it', 'situation.unmapped': 'belongs to no till', 'situation.released': 'taken from its session by an admin', 'situation.refused': '', 'situation.blocked.forever': 'until somebody unblocks it', 'situation.in_use': '',
  'stick.by_port': 'no serial number, known by port {port}', 'stick.port': 'port {port}', 'stick.label': 'Rename', 'stick.label.field': 'Name', 'stick.label.hint': 'Empty: as the stick calls itself.', 'stick.accept': 'Accept as it is', 'stick.accept.menu': 'Accept as it is…',
  'latency.none': 'No transfers yet', 'latency.words': 'Latency: half of the transfers within {p50}, 99 of 100 within {p99}', 'latency.p50': 'p50: half of the transfers are faster', 'latency.p99': 'p99: 99 of 100 transfers are faster',
  identify: 'Where is it?', 'identify.in_use': 'Not while it is in use', 'export.stick': 'Export its audit log', capture: 'Capture traffic (without contents)', 'capture.title': 'A pcapng file for Wireshark; runs until you stop the download',
  'block.menu': 'Block…', 'block.title': 'Block {stick}', 'block.text': 'No till gets this stick while it is blocked. A session that has it loses it at once.', 'block.time': 'For how long', 'block.forever': 'Until somebody unblocks it', 'block.do': 'Block', 'block.done': '{stick} is blocked', give_back: 'Give back', 'give_back.done': '{stick} goes back to its session', unblock: 'Unblock', 'unblock.done': '{stick} is no longer blocked',
  'accept.title': 'Accept {stick} as it is?', 'accept.text': 'This stick describes itself differently than when it was mapped, or another one sits in its port. Accept it only if you know why: a swapped stick may be an attack.', 'accept.done': '{stick} is accepted',
  forget: 'Forget…', 'forget.title': 'Forget {stick}?', 'forget.text': 'It goes from this list with its mappings. If it is plugged in again, it is a new stick. The audit log keeps its history.',

  // mappings
  map: 'Map', 'map.menu': 'Map to a till…', 'map.menu.till': 'Map a stick to it…', 'map.choose': 'Map…', 'map.stick.label': 'Map {stick} to a till', 'map.title': 'Map a stick to a till', 'map.do': 'Map', 'map.done': '{stick} now belongs to {till}', 'map.undone': 'The mapping is gone again', 'map.already': 'This stick already belongs to this till', 'map.dragged': 'mapped by drag on the page',
  'map.no_till': 'There is no till yet. Add one first.', 'map.no_stick': 'There is no stick yet. Plug one in first.', 'map.before': { one: 'This stick has a mapping already', other: 'This stick has {n} mappings already, in this order' }, 'map.in_use': 'in use now',
  'map.instead': { one: 'Instead of it', other: 'Instead of these' }, 'map.instead.hint': 'Mappings from the configuration file stay.', 'map.first': 'In addition, as the first', 'map.first.hint': 'This till is looked at before the others. Nobody loses a running session by it.', 'map.last': 'In addition, as the last', 'map.last.hint': 'This till gets the stick when none before it is there.',
  'map.lease': '{till} uses this stick right now. If it no longer belongs there, the device leaves that session at once.', 'map.conditions': 'Only for certain sessions, reset, pipeline', 'map.user': 'Only for this user', 'map.user.hint': 'Empty: any user.', 'map.server': 'Only on this terminal server', 'map.server.hint': 'Empty: any server.',
  'map.reset': 'When the session asks for a reset', 'map.reset.soften': 'Soften it (recommended)', 'map.reset.refuse': 'Refuse it', 'map.reset.pass': 'Carry it out: a TSE loses its time and self test', 'map.pipeline': 'Hide the link’s latency', 'map.pipeline.on': 'Yes (recommended)', 'map.pipeline.off': 'No: each transfer waits for the one before',
  'mapping.file': 'from the file', 'mapping.file.title': 'From tillbridged.toml; it can be changed only there', 'mapping.position.title': 'Position: 1 is looked at first', 'mapping.any': 'any user, any terminal server', 'mapping.only': 'only', 'mapping.user': 'for {user}', 'mapping.server': 'on {server}', 'mapping.gone': 'no longer mapped', 'mapping.none': 'Belongs to no till', 'mapping.up': 'Look at it earlier', 'mapping.down': 'Look at it later', 'mapping.moved': 'The order is changed', 'mappings.more.title': 'More tills may get this stick; unfold to see the order',
  unmap: 'Unmap', 'unmap.title': 'Unmap this stick?', 'unmap.text': '{stick} no longer belongs to {till}. If a session has it now, it disappears there at once and does not come back by itself.', 'unmap.done': '{stick} no longer belongs to {till}',
  'drag.till': 'Dragging till {name}: drop it on a stick, Escape cancels', 'drag.stick': 'Dragging stick {name}: drop it on a till, Escape cancels',

  // leases and sessions
  session: 'Session', 'session.on': '{user} on {server}', 'session.unknown': 'Session', 'lease.since': 'since {time}', 'lease.away': 'connection lost', 'lease.transfers': { one: '{transfers} transfer', other: '{transfers} transfers' }, 'lease.errors': { one: '{n} error', other: '{n} errors' }, 'lease.times_away': { one: 'away once', other: 'away {n} times' }, 'lease.rtt': 'network {time}', 'lease.end': 'End', 'lease.end.menu': 'End this use…',
  'end.title': 'End this use?', 'end.text': '{stick} disappears from the session of {till} at once. It does not come back by itself.', 'end.block': 'Block the stick afterwards', 'end.block.hint': 'So that nobody takes it while you work on it.', 'end.no_block': 'No', 'end.do': 'End it', 'end.done': '{till} no longer has {stick}',

  // tills
  tills: 'Tills', till: 'Till', 'tills.search': 'Find a till', 'tills.empty': 'No till yet', 'tills.empty.more': 'Add one: you get a line to run there, and it joins by itself.', 'tills.none_fits': 'No till fits.', 'tills.help': 'Drag a till onto a stick, or a stick onto a till, to map them.',
  'till.connected': 'Connected', 'till.resuming': 'Reconnecting', 'till.lost': 'Lost', 'till.away': 'Signed off', 'till.never_seen': 'Not joined yet', 'till.revoked': 'Revoked', 'till.unknown': 'not set up', 'till.has': 'has {stick}', 'till.mapped': 'gets {stick}', 'till.mapped.more': { one: 'gets {stick} and {n} more', other: 'gets {stick} and {n} more' }, 'till.no_stick': 'no stick mapped', 'till.revoked.more': 'its certificate is no longer good', 'till.details': 'Details',
  'till.state': 'State', 'till.sticks': 'Sticks', 'till.software': 'Software', 'till.address': 'Address', 'till.rtt': 'Network round trip', 'till.last_seen': 'Last seen', 'till.times': 'Since the server started', 'till.note': 'Note',
  certificate: 'Certificate', 'certificate.days': { one: 'good for {n} day, renews itself', other: 'good for {n} days, renews itself' }, 'certificate.ends': { one: '{n} day left', other: '{n} days left' }, 'certificate.revoked': 'revoked',
  'till.add': 'Add till', 'till.add.title': 'Add a till', 'till.add.text': 'You get one line to run on the till, good for 15 minutes and for one till.', 'till.name': 'Name of the till', 'till.name.example': 'kasse-07', 'till.name.hint': 'Letters, digits, dot and dash. It stays; give it a label for people.', 'till.label': 'Label', 'till.label.example': 'Bakery, left', 'till.label.title': 'Change label…', 'till.add.stick': 'Its stick', 'till.add.no_stick': 'Map one later', 'till.add.do': 'Make the line',
  'line.title': 'Bring {till} in', 'line.text': 'Run this line on the till, or scan the code. The till makes its own key; nothing secret has to be copied.', 'line.command': 'Command for the till', 'line.left': '{time} left', 'line.expired': 'The time is over; the line no longer works.', 'line.again': 'Make a new line', 'line.waiting': 'Waiting for the till…', 'line.here': '{till} has joined', 'line.here.more': 'It has its certificate. From now on it connects by itself.', 'line.qr': 'QR code with the same line', 'line.qr.hint': 'The same line as a code',
  'token.menu': 'New line for pairing…', 'token.title': 'New line for {till}', 'token.text': 'For a till that was installed anew, or whose certificate has run out. An older line no longer works.', 'token.do': 'Make the line',
  'pending.approve': 'Approve', 'pending.ignore': 'Ignore', 'pending.words': 'Its four words', 'pending.compare': 'Approve it only if the till shows the same four words. It calls from', 'approve.title': 'Approve a till', 'approve.text': 'Does the till show these four words?', 'approve.from': '{name}, calling from {address}', 'approve.do': 'Yes, approve', 'approve.done': '{till} is approved; it joins by itself now', 'ignore.title': 'Ignore {till}?', 'ignore.text': 'It is no longer shown, and gets nothing. If it asks with another key, it shows up again.',
  revoke: 'Revoke…', 'revoke.title': 'Revoke {till}?', 'revoke.text': 'Its certificate is refused from now on, and its session loses its sticks at once. To come back, it has to pair anew.', 'revoke.done': '{till} is revoked', remove: 'Remove…', 'remove.title': 'Remove {till}?', 'remove.text': 'It is revoked and goes from the list with its mappings. The audit log keeps its history.', 'remove.done': '{till} is removed',

  // maintenance
  'drain.begin': 'Begin maintenance…', 'drain.end': 'End maintenance', 'drain.on': 'Maintenance', 'drain.title': 'Begin maintenance?', 'drain.text': 'No till gets a stick from now on. Running sessions keep theirs until they end: wait until none is left, then work on the server.', 'drain.ended': 'Maintenance is over', 'drain.banner.none': 'Maintenance. No stick is in use any more: you can work on the server.', 'drain.banner': { one: 'Maintenance: no new use begins. {n} stick is still in use.', other: 'Maintenance: no new use begins. {n} sticks are still in use.' },

  // events
  log: 'Events', 'log.warnings': 'Only warnings', 'log.empty': 'Nothing has happened yet.', 'log.empty.warnings': 'No warning.', 'level.error': 'Error', 'level.warning': 'Warning',

  // audit
  audit: 'Audit log', 'audit.text': 'Everything that happened, in a chain that shows any later change.', 'audit.all_sticks': 'All sticks', 'audit.all_tills': 'All tills', 'audit.from': 'From', 'audit.to': 'To', 'audit.verify': 'Verify', 'audit.verifying': 'Verifying…', 'audit.export': 'Export', 'audit.more': 'Older entries', 'audit.empty': 'Nothing here for this choice.', 'audit.time': 'Time', 'audit.what': 'What', 'audit.stick': 'Stick', 'audit.till': 'Till', 'audit.who': 'Who', 'audit.why': 'Why', 'audit.number': 'Number of the entry',
  'audit.intact': { one: 'The log is intact: {entries} entry, none changed, none missing.', other: 'The log is intact: {entries} entries, none changed, none missing.' }, 'audit.damaged': { one: 'The log is not intact: {n} finding.', other: 'The log is not intact: {n} findings.' }, 'audit.signed': 'Signed up to entry {entry}, {time}',

  // users
  users: 'Users', 'users.text': 'Who may look, and who may change things.', 'users.socket': 'Whoever is root on the USB server can always use the command tillbridge there.', 'user.name': 'Name', 'user.role': 'Role', 'user.role.change': 'Change role', 'user.add': 'Add user', 'user.added': '{user} can log in now', 'user.you': 'you', 'user.last_login': 'last login {time}', 'user.never': 'has never logged in', 'user.remove': 'Remove user', 'user.remove.title': 'Remove {user}?', 'user.remove.text': 'The account is closed and its sessions end at once.', 'user.remove.self': 'Nobody removes the own account', 'user.removed': '{user} is removed', 'role.admin': 'admin', 'role.viewer': 'viewer', 'role.admin.more': 'may change everything', 'role.viewer.more': 'may only look',
  password: 'Password', 'password.hint': 'At least {n} characters; a few words are better than signs.', 'password.new': 'New password', 'password.own': 'Change my password', 'password.of': 'New password for {user}', 'password.changed': 'The password is changed',
  'login.title': 'Log in', 'login.text': 'to see which till has which stick', 'login.ended': 'Your session has ended. Log in again to go on.', 'login.do': 'Log in', 'login.first': 'Welcome', 'login.first.text': 'This link works once. Choose the name and password of your account.', 'login.first.do': 'Make account and log in', 'login.again': 'Password again', 'login.differ': 'The two passwords differ.', 'login.have_account': 'I have an account already', 'login.forgot': 'No account, or password forgotten?', 'login.forgot.text': 'On the USB server, this command prints a link that works once:',

  // what happened, in events and in the audit log
  'kind.log_begun': 'Log begun', 'kind.log_cut': 'Unfinished line removed', 'kind.log_damaged': 'Log was found changed', 'kind.log_rotated': 'Log goes on in a new file',
  'kind.server_started': 'Server started', 'kind.server_stopped': 'Server stopped', 'kind.configuration_read': 'Configuration read', 'kind.drain_begun': 'Maintenance begun',
  'kind.drain_ended': 'Maintenance ended', 'kind.alarm_raised': 'Alarm', 'kind.alarm_cleared': 'Alarm over', 'kind.stick_attached': 'Stick plugged in', 'kind.stick_detached': 'Stick pulled',
  'kind.stick_refused': 'Stick refused', 'kind.stick_accepted': 'Stick accepted', 'kind.stick_blocked': 'Stick blocked', 'kind.stick_unblocked': 'Stick no longer blocked',
  'kind.stick_labelled': 'Stick renamed', 'kind.stick_identified': 'Stick looked for', 'kind.stick_forgotten': 'Stick forgotten', 'kind.mapping_added': 'Mapped',
  'kind.mapping_changed': 'Mapping changed', 'kind.mapping_removed': 'Unmapped', 'kind.lease_begun': 'Use begun', 'kind.lease_away': 'Connection lost, waiting',
  'kind.lease_back': 'Connection is back', 'kind.lease_ended': 'Use ended', 'kind.lease_released': 'Use ended by an admin', 'kind.till_added': 'Till added', 'kind.till_changed': 'Till changed',
  'kind.till_connected': 'Till connected', 'kind.till_lost': 'Till lost', 'kind.till_left': 'Till signed off', 'kind.till_refused': 'Till refused', 'kind.till_revoked': 'Till revoked',
  'kind.till_removed': 'Till removed', 'kind.token_issued': 'Line for pairing made', 'kind.pairing_done': 'Till paired', 'kind.pairing_refused': 'Pairing refused',
  'kind.pending_seen': 'A till asks to join', 'kind.pending_approved': 'Till approved', 'kind.pending_ignored': 'Till ignored', 'kind.certificate_issued': 'Certificate issued',
  'kind.certificate_renewed': 'Certificate renewed', 'kind.certificate_revoked': 'Certificate revoked', 'kind.login': 'Logged in', 'kind.login_refused': 'Login refused',
  'kind.login_link_made': 'Login link made', 'kind.logout': 'Logged out', 'kind.user_added': 'User added', 'kind.user_changed': 'User changed', 'kind.user_removed': 'User removed',
  'kind.action_refused': 'Not allowed', 'kind.capture_begun': 'Capture begun', 'kind.capture_ended': 'Capture ended', 'kind.audit_verified': 'Log verified', 'kind.audit_exported': 'Log exported',

  // alarms; what helps is said by the server
  'alarm.stick_gone': '{stick} is unplugged',
  'alarm.wrong_stick': '{stick} is not the right stick',
  'alarm.descriptors_changed': '{stick} describes itself differently than before',
  'alarm.stick_twin': '{stick} is there twice',
  'alarm.till_lost': '{till} did not come back',
  'alarm.certificate_ending': 'The certificate of {till} is about to end',
  'alarm.store_unwritable': 'The database cannot be written',
  'alarm.audit_unwritable': 'The audit log cannot be written',
  'alarm.audit_damaged': 'The audit log was changed',
};
