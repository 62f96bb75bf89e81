"""A model that others can use over HTTP: routes, the queue before the model, and the forms of its answers.

An upload's way: `admission` gives it a place, `uploads` reads its bytes, `reading` decodes them, `queue` puts images of one
frame together for the model, `answers` writes what was found. `app` says which route does what, and nothing else.
"""
