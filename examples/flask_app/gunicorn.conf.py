"""How gunicorn serves orders; options of the command line override these."""

bind = "127.0.0.1:8001"
threads = 4
accesslog = None
control_socket_disable = True  # v1 and v2 on one machine would share the file
