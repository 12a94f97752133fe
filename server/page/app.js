document.title = 'tillbridge';
